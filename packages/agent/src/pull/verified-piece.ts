/** Disks forget, too: a piece of a committed blob is checked again on its way out, whoever it is for. */
import { createHash } from 'node:crypto';
import { pieceExtent } from '@shoal/swarm';
import { type BlobHandle, type BlobStore, StoreError } from '../store/blob-store.ts';

/**
 * Reads piece `index`, into new memory or the start of `memory`, and compares it with its SHA-256 from the commit.
 * @throws StoreError digest-mismatch: the file is damaged; the blob is dropped, so that it is pulled again
 */
export async function readVerifiedPiece(
  store: Pick<BlobStore, 'drop'>,
  handle: BlobHandle,
  index: number,
  memory?: Buffer,
): Promise<{ bytes: Buffer; sha256: Uint8Array }> {
  const { offset, length } = pieceExtent(handle.sizeBytes, index);
  const [bytes, sha256] = await Promise.all([handle.read(offset, length, memory), handle.pieceHash(index)]);
  if (createHash('sha256').update(bytes).digest().equals(sha256)) return { bytes, sha256 };
  await store.drop(handle.id);
  throw new StoreError('digest-mismatch', `piece ${index} of ${handle.id} changed on the disk`);
}
