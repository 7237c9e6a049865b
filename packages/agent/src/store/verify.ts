/** Reads committed blobs back from their files, whatever descriptors are open on them, and compares them with their names. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { digestAlgorithm, digestHex, digestOf } from '@shoal/oci';
import { StoreError, type VerifyOptions } from './blob-store.ts';
import { readExactly } from './file-bytes.ts';
import type { BlobEntry } from './ledger.ts';

/** Small enough that others get their turn between two portions. */
const PORTION_BYTES: number = 2 ** 20;

/**
 * Resolves when the file is what the blob's name says. @throws StoreError digest-mismatch, io; the system's error when the file
 * cannot be opened; the reason of the signal
 */
export async function verifyFile(entry: BlobEntry, path: string, { signal, onBytes }: VerifyOptions): Promise<void> {
  const { id, sizeBytes } = entry;
  const digest = digestOf(id);
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    if (size !== sizeBytes) throw new StoreError('io', `${path} has ${size} bytes instead of ${sizeBytes}`);
    const hash = createHash(digestAlgorithm(digest));
    const buffer = Buffer.allocUnsafeSlow(Math.min(PORTION_BYTES, Math.max(1, sizeBytes)));
    for (let offset = 0; offset < sizeBytes; offset += buffer.length) {
      signal.throwIfAborted();
      const bytes = buffer.subarray(0, Math.min(buffer.length, sizeBytes - offset));
      await readExactly(file, bytes, offset);
      hash.update(bytes);
      onBytes?.(bytes.length);
    }
    const hex = hash.digest('hex');
    if (hex !== digestHex(digest)) throw new StoreError('digest-mismatch', `the bytes of ${id} hash to ${hex}`);
  } finally {
    await file.close();
  }
}
