/** The OCI specifications' vocabulary: digests, references, media types, manifests, auth challenges. Pure. */
export { type BlobId, blobIdOf, digestOf, parseBlobId, registryOf } from './blob-id.ts';
export { type Challenge, parseChallenges } from './challenge.ts';
export { type Digest, type DigestAlgorithm, digestAlgorithm, digestHex, parseDigest } from './digest.ts';
export {
  type Descriptor,
  MAX_BLOB_BYTES,
  MAX_MANIFEST_BYTES,
  MAX_MANIFEST_CHILDREN,
  ManifestError,
  type ManifestErrorCode,
  manifestChildren,
} from './manifest.ts';
export {
  acceptCovers,
  DOCKER_CONFIG,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isManifestMediaType,
  MANIFEST_ACCEPT,
  manifestMediaTypeOf,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-type.ts';
export { type OciErrorCode, ociErrorBody } from './oci-error.ts';
export { entriesFor, type IndexEntry, indexEntries, type Platform, parsePlatform, platformText } from './platform.ts';
export { applyRange, type ByteRange, parseRangeHeader, type RangeHeader } from './range.ts';
export { type ImageReference, isRepositoryName, isTag, parseImageReference, qualifyRepository } from './reference.ts';
export { DOCKER_HUB, isRegistryHost, isThisMachine, normaliseRegistryHost } from './registry-host.ts';
