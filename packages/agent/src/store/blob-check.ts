/** Reads a whole blob file once, in bounded memory, for its digest and the hashes of its pieces. */
import { createHash, hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type Digest, digestAlgorithm, digestHex } from '@shoal/oci';
import { pieceCountOf, pieceExtent, pieceSizeOf } from '@shoal/swarm';
import { readExactly } from './file-bytes.ts';

export const PIECE_HASH_BYTES = 32;

/** SHA-256 of bytes in memory. */
export function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/**
 * The piece hashes one after another, or undefined when the file does not hash to its digest.
 * @param pace awaited after every piece, with its bytes; may throw to end it
 */
export async function checkBlob(
  file: FileHandle,
  digest: Digest,
  sizeBytes: number,
  pace?: (hashedBytes: number) => Promise<void>,
): Promise<Uint8Array | undefined> {
  const count = pieceCountOf(sizeBytes);
  const whole = createHash(digestAlgorithm(digest));
  const pieces = Buffer.alloc(count * PIECE_HASH_BYTES);
  const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSizeOf(sizeBytes), Math.max(1, sizeBytes)));
  for (let index = 0; index < count; index++) {
    const { offset, length } = pieceExtent(sizeBytes, index);
    const bytes = buffer.subarray(0, length);
    await readExactly(file, bytes, offset);
    whole.update(bytes);
    pieces.set(sha256(bytes), index * PIECE_HASH_BYTES);
    await pace?.(length);
  }
  return whole.digest('hex') === digestHex(digest) ? pieces : undefined;
}

/** The same for bytes in memory. */
export function checkBytes(bytes: Uint8Array, digest: Digest): Uint8Array | undefined {
  if (hash(digestAlgorithm(digest), bytes, 'hex') !== digestHex(digest)) return undefined;
  const count = pieceCountOf(bytes.length);
  const pieces = Buffer.alloc(count * PIECE_HASH_BYTES);
  for (let index = 0; index < count; index++) {
    const { offset, length } = pieceExtent(bytes.length, index);
    pieces.set(sha256(bytes.subarray(offset, offset + length)), index * PIECE_HASH_BYTES);
  }
  return pieces;
}
