/** Media types of manifests. Layer and config types are opaque: they are passed on as they are. */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
const OCI_ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json';
const DOCKER_SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
const DOCKER_SCHEMA1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

const MANIFESTS: ReadonlySet<string> = new Set([
  OCI_MANIFEST,
  OCI_INDEX,
  DOCKER_MANIFEST,
  DOCKER_LIST,
  OCI_ARTIFACT,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
]);

/** What to send as Accept when a client sent none: every manifest a current runtime can read. */
export const MANIFEST_ACCEPT: string = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(', ');

/** Parameters (`; charset=…`) are ignored. */
export function isManifestMediaType(mediaType: string): boolean {
  const [type = ''] = mediaType.split(';', 1);
  return MANIFESTS.has(type.trim().toLowerCase());
}

/** Whether an Accept header takes this media type; weights are ignored, and no header takes everything. */
export function acceptCovers(accept: string, mediaType: string): boolean {
  const ranges = accept
    .toLowerCase()
    .split(',')
    .map((range) => (range.split(';', 1)[0] ?? '').trim())
    .filter((range) => range !== '');
  const type = mediaType.toLowerCase();
  const wildcard = `${type.slice(0, type.indexOf('/'))}/*`;
  return ranges.length === 0 || ranges.some((range) => range === type || range === wildcard || range === '*/*');
}

/**
 * The media type of manifest bytes that came without one (from a peer): the `mediaType` field if there is one, else by
 * shape, because OCI makes the field optional. Undefined when the bytes are no manifest.
 */
export function manifestMediaTypeOf(bytes: Uint8Array): string | undefined {
  let manifest: unknown;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof manifest !== 'object' || manifest === null) return undefined;
  if ('mediaType' in manifest && typeof manifest.mediaType === 'string' && isHeaderSafe(manifest.mediaType)) {
    return manifest.mediaType;
  }
  if ('schemaVersion' in manifest && manifest.schemaVersion === 1) {
    return 'signatures' in manifest ? DOCKER_SCHEMA1_SIGNED : DOCKER_SCHEMA1;
  }
  if ('manifests' in manifest && Array.isArray(manifest.manifests)) return OCI_INDEX;
  if ('layers' in manifest && Array.isArray(manifest.layers)) return OCI_MANIFEST;
  return undefined;
}

/** The field becomes a Content-Type header, so it must be a plain media type. */
function isHeaderSafe(mediaType: string): boolean {
  return mediaType.length <= 255 && /^[\w.+-]+\/[\w.+-]+$/.test(mediaType);
}
