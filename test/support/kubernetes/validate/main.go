// Reads Kubernetes objects as YAML documents from stdin, each with its own Go type from Kubernetes, strictly: a field that the API does not
// know, or a value of another type, is an error, as is a kind that is not known. Prints them as a JSON list, with what the API gives them
// as default. Exits with 1 and one line per wrong object.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	reader := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	objects := []json.RawMessage{}
	wrong := false
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		object, kind, err := codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n", kind, err)
			wrong = true
			continue
		}
		written, err := json.Marshal(object)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		objects = append(objects, written)
	}
	if wrong {
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(objects); err != nil {
		os.Exit(1)
	}
}
