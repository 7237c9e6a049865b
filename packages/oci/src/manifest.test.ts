import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ManifestError, manifestChildren } from './manifest.ts';
import { acceptCovers, DOCKER_MANIFEST, manifestMediaTypeOf, OCI_INDEX, OCI_MANIFEST } from './media-type.ts';

const digestOf = (seed: number) => `sha256:${seed.toString(16).padStart(64, '0')}`;
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const codeOf = (bytes: Uint8Array) => {
  try {
    manifestChildren(bytes);
    return 'none';
  } catch (error) {
    return (error as ManifestError).code;
  }
};

test('lists config and layers of an image, each digest once, foreign layers flagged', () => {
  const children = manifestChildren(
    encode({
      schemaVersion: 2,
      unknown: { field: 1 },
      config: { digest: digestOf(1), size: 10, mediaType: 'x/config' },
      layers: [
        { digest: digestOf(2), size: 20, mediaType: layerType, urls: ['https://a.example/layer'] },
        { digest: digestOf(3), size: 0, mediaType: layerType },
        { digest: digestOf(2), size: 20, mediaType: layerType },
      ],
      subject: { digest: digestOf(4), size: 40 },
    }),
  );
  expect(children).toEqual([
    { digest: digestOf(1), sizeBytes: 10, mediaType: 'x/config', kind: 'blob', foreign: false },
    { digest: digestOf(2), sizeBytes: 20, mediaType: layerType, kind: 'blob', foreign: true },
    { digest: digestOf(3), sizeBytes: 0, mediaType: layerType, kind: 'blob', foreign: false },
  ]);
});

test('lists manifests of an index, and as blobs what a BuildKit cache lists there', () => {
  const children = manifestChildren(
    encode({
      manifests: [
        { digest: digestOf(1), size: 1, mediaType: OCI_MANIFEST, platform: { os: 'unknown' } },
        { digest: digestOf(2), size: 2 },
        { digest: digestOf(3), size: 3, mediaType: layerType },
      ],
    }),
  );
  expect(children.map((child) => child.kind)).toEqual(['manifest', 'manifest', 'blob']);
});

test.each([
  ['not-json', new TextEncoder().encode('{')],
  ['not-json', new Uint8Array([0xff, 0xfe])],
  ['not-a-manifest', encode([])],
  ['not-a-manifest', encode({ schemaVersion: 2 })],
  ['bad-descriptor', encode({ layers: [null] })],
  ['bad-descriptor', encode({ layers: [{ digest: 'sha256:1', size: 1 }] })],
  ['bad-descriptor', encode({ layers: [{ digest: digestOf(1), size: -1 }] })],
  ['bad-descriptor', encode({ layers: [{ digest: digestOf(1), size: 2 ** 50 }] })],
  ['bad-descriptor', encode({ layers: [{ digest: digestOf(1), size: '1' }] })],
  ['too-many-children', encode({ layers: Array.from({ length: 1025 }, (_, i) => ({ digest: digestOf(i), size: 1 })) })],
  ['too-large', new Uint8Array(4 * 1024 * 1024 + 1)],
])('answers %s', (code, bytes) => {
  expect(codeOf(bytes)).toBe(code);
});

test('any JSON gives children or a ManifestError', () => {
  const field = fc.oneof(
    fc.jsonValue(),
    fc.array(fc.record({ digest: fc.constant(digestOf(1)), size: fc.jsonValue() })),
  );
  fc.assert(
    fc.property(fc.record({ config: field, layers: field, manifests: field, mediaType: field }), (value) => {
      const bytes = encode(value);
      manifestMediaTypeOf(bytes);
      expect(codeOf(bytes)).toMatch(/^(none|not-a-manifest|bad-descriptor|too-many-children)$/);
    }),
  );
});

test.each([
  [DOCKER_MANIFEST, { mediaType: DOCKER_MANIFEST, layers: [] }],
  [OCI_INDEX, { schemaVersion: 2, manifests: [] }],
  [OCI_MANIFEST, { schemaVersion: 2, layers: [] }],
  [OCI_MANIFEST, { mediaType: 'a/b\r\nSet-Cookie: c', layers: [] }],
  ['application/vnd.docker.distribution.manifest.v1+prettyjws', { schemaVersion: 1, signatures: [] }],
  [undefined, { hello: 1 }],
])('takes %s from the bytes', (mediaType, manifest) => {
  expect(manifestMediaTypeOf(encode(manifest))).toBe(mediaType);
});

test('knows which types an Accept header takes', () => {
  expect(acceptCovers('', OCI_INDEX)).toBe(true);
  expect(acceptCovers(`a/b, ${OCI_INDEX.toUpperCase()};q=0.5`, OCI_INDEX)).toBe(true);
  expect(acceptCovers('application/*', OCI_INDEX)).toBe(true);
  expect(acceptCovers('*/*', OCI_INDEX)).toBe(true);
  expect(acceptCovers(OCI_MANIFEST, OCI_INDEX)).toBe(false);
});
