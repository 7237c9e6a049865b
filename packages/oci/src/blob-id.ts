/**
 * A blob as one registry has it: `HOST/ALGORITHM:HEX`, e.g. `ghcr.io/sha256:…`. Content is the same everywhere, but who
 * holds what is not: bytes that one registry gave out are no sign that another one has them, and a registry may answer a
 * manifest that names content which only others ever held. So everything that is kept, traded or vouched for goes by this name.
 */
import { type Digest, parseDigest } from './digest.ts';
import { normaliseRegistryHost } from './registry-host.ts';

export type BlobId = string & { readonly __brand: 'blob-id' };

/** @param registry a normalised host, as in `ImageReference` */
export function blobIdOf(registry: string, digest: Digest): BlobId {
  return `${registry}/${digest}` as BlobId;
}

/** Hosts that were found to be normalised: there are few, and they come by the thousand. */
const known = new Set<string>();
const MAX_KNOWN = 256;

/** Returns undefined unless the text is the one spelling of a blob of a registry. */
export function parseBlobId(text: string): BlobId | undefined {
  const slash = text.indexOf('/');
  if (slash === -1 || parseDigest(text.slice(slash + 1)) === undefined) return undefined;
  const registry = text.slice(0, slash);
  if (!known.has(registry)) {
    if (normaliseRegistryHost(registry) !== registry) return undefined;
    if (known.size >= MAX_KNOWN) known.clear();
    known.add(registry);
  }
  return text as BlobId;
}

export function digestOf(blob: BlobId): Digest {
  return blob.slice(blob.indexOf('/') + 1) as Digest;
}

/** The host, normalised. */
export function registryOf(blob: BlobId): string {
  return blob.slice(0, blob.indexOf('/'));
}
