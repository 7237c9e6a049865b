/** The OCI specifications' vocabulary: digests, references, media types, manifests, auth challenges. Pure. */
export { type Digest, type DigestAlgorithm, digestAlgorithm, digestHex, parseDigest } from './digest.ts';
