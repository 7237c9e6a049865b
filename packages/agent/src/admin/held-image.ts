/**
 * What the store holds of an image, told by the manifests that it holds: an index and those of its manifests that are here (other
 * platforms are not), and of each its config and layers, whether they are here or not.
 */

import type { Descriptor } from '@shoal/oci';
import { type BlobId, blobIdOf, MAX_MANIFEST_BYTES, manifestChildren, registryOf } from '@shoal/oci';
import type { BlobStore } from '../store/blob-store.ts';

/** An index of indexes of manifests is the deepest that is known. */
const MAX_MANIFESTS = 1_000;
const MAX_BLOBS = 20_000;

/** Sizes in bytes of the manifests that are here, and of all that they name beside manifests. Empty: the root is not here. */
export async function imageBlobs(root: BlobId, store: Pick<BlobStore, 'open'>): Promise<Map<BlobId, number>> {
  const blobs = new Map<BlobId, number>();
  const manifests = new Set([root]);
  for (const id of manifests) {
    const read = await readManifest(id, store);
    if (read === undefined) continue;
    blobs.set(id, read.sizeBytes);
    for (const { digest, sizeBytes, kind, foreign } of read.children) {
      const child = blobIdOf(registryOf(root), digest);
      if (kind === 'manifest' && manifests.size < MAX_MANIFESTS) manifests.add(child);
      else if (kind === 'blob' && !foreign && blobs.size < MAX_BLOBS) blobs.set(child, sizeBytes);
    }
  }
  return blobs;
}

/** Undefined when it is not here, or no manifest. Reading it so is no use of it. */
export async function readManifest(
  id: BlobId,
  store: Pick<BlobStore, 'open'>,
): Promise<{ sizeBytes: number; children: Descriptor[] } | undefined> {
  const handle = await store.open(id, { isUse: false });
  if (handle === undefined) return undefined;
  try {
    const { sizeBytes } = handle;
    if (sizeBytes > MAX_MANIFEST_BYTES) return undefined;
    return { sizeBytes, children: manifestChildren(await handle.read(0, sizeBytes)) };
  } catch {
    return undefined;
  } finally {
    handle.release();
  }
}
