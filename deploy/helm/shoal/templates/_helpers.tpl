{{- define "shoal.name" -}}
{{- if contains "shoal" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-shoal" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "shoal.selector" -}}
app.kubernetes.io/name: shoal
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "shoal.labels" -}}
{{ include "shoal.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "shoal.image" -}}
image: {{ required "image.repository is not set: name where you pushed the image, see deploy/README.md" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "shoal.identitySecret" -}}
{{ .Values.identity.existingSecret | default (printf "%s-identity" (include "shoal.name" .)) }}
{{- end }}

{{- define "shoal.storeSecret" -}}
{{- required "tracker.store.existingSecret is not set: several trackers share a Valkey or Redis, whose address that Secret has" .Values.tracker.store.existingSecret -}}
{{- end }}

{{/* Each of several by name, so that agents turn to the next one at once. */}}
{{- define "shoal.trackerUrl" -}}
{{- if and .Values.tracker.enabled (gt (int .Values.tracker.replicas) 1) -}}
{{- $name := include "shoal.name" . -}}
{{- range $index := until (int .Values.tracker.replicas) -}}
{{- if $index }},{{ end -}}
https://{{ $name }}-tracker-{{ $index }}.{{ $name }}-tracker-pods.{{ $.Release.Namespace }}.svc:{{ $.Values.tracker.port }}
{{- end -}}
{{- else if .Values.tracker.enabled -}}
https://{{ include "shoal.name" . }}-tracker.{{ .Release.Namespace }}.svc:{{ .Values.tracker.port }}
{{- else -}}
{{- required "tracker.url is not set: without a tracker of its own the release has to know another" .Values.tracker.url -}}
{{- end -}}
{{- end }}

{{/* The image's own user, without any right of root. */}}
{{- define "shoal.confined" -}}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  runAsNonRoot: true
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Root of the node's files, with no more than the capabilities named. */}}
{{- define "shoal.rootWith" -}}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  runAsNonRoot: false
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
    {{- with . }}
    add: {{ toJson . }}
    {{- end }}
{{- end }}

{{/* Whom the agent's folder belongs to: root where it reads containerd's own files, which nobody else may. */}}
{{- define "shoal.agentUser" -}}
{{- if .Values.agent.containerd.enabled }}{{ include "shoal.rootWith" (list) }}{{ else }}{{ include "shoal.confined" . }}{{ end }}
{{- end }}

{{/*
Gives a folder of the node to the user that it is for: the node makes it for root. What is in it may be another user's, from before a
change of settings; it is root's while it is passed on, as root has no right to look into what is not its own.
*/}}
{{- define "shoal.ownData" -}}
{{- $user := ternary 0 65532 (.asRoot | default false) }}
- name: own-data
  {{- include "shoal.image" .root | nindent 2 }}
  command:
    - node
    - -e
    - |
      const fs = require('node:fs');
      const give = (path, isFolder) => {
        if (isFolder) {
          fs.chownSync(path, 0, 0);
          for (const entry of fs.readdirSync(path, { withFileTypes: true })) give(`${path}/${entry.name}`, entry.isDirectory());
        }
        fs.lchownSync(path, {{ $user }}, {{ $user }});
      };
      fs.chmodSync('/data', 0o700);
      if (fs.statSync('/data').uid !== {{ $user }} || {{ $user }} === 0) give('/data', true);
  {{- include "shoal.rootWith" (list "CHOWN" "FOWNER") | nindent 2 }}
  resources:
    requests: { cpu: 10m, memory: 64Mi }
    limits: { memory: 128Mi }
  volumeMounts:
    - { name: data, mountPath: /data }
{{- end }}

{{- define "shoal.setUpPaths" -}}
{{- if .Values.runtime.hostPaths -}}
{{- toJson .Values.runtime.hostPaths -}}
{{- else -}}
{{- toJson (list (get (dict "containerd" "/etc/containerd" "k3s" "/etc/rancher/k3s" "crio" "/etc/containers") .Values.runtime.name)) -}}
{{- end -}}
{{- end }}

{{/* `shoal setup` on the node's own files, at the paths that they have there: what it writes names them. */}}
{{- define "shoal.setUp" -}}
- name: {{ .name }}
  {{- include "shoal.image" .root | nindent 2 }}
  args:
    - setup
    - {{ .root.Values.runtime.name }}
    - --no-probe
    - --mirror=http://127.0.0.1:{{ .root.Values.agent.ports.mirror }}
    {{- range concat .root.Values.runtime.args .args }}
    - {{ . | quote }}
    {{- end }}
  {{- include "shoal.rootWith" (list) | nindent 2 }}
  resources:
    requests: { cpu: 10m, memory: 64Mi }
    limits: { memory: 256Mi }
  volumeMounts:
    - { name: setup-journal, mountPath: /var/lib/shoal-setup }
    {{- range $index, $path := fromJsonArray (include "shoal.setUpPaths" .root) }}
    - { name: runtime-{{ $index }}, mountPath: {{ $path }} }
    {{- end }}
{{- end }}

{{- define "shoal.setUpVolumes" -}}
- name: setup-journal
  hostPath: { path: /var/lib/shoal-setup, type: DirectoryOrCreate }
{{- range $index, $path := fromJsonArray (include "shoal.setUpPaths" .) }}
- name: runtime-{{ $index }}
  hostPath: { path: {{ $path }}, type: DirectoryOrCreate }
{{- end }}
{{- end }}

{{- define "shoal.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
