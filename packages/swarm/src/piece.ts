/**
 * How a blob is cut into pieces. A pure function of the blob's size, so agents that never met agree on it.
 * Pieces are 256 KiB, 512 KiB in a blob of more than 32 MiB, and double from there until it has at most 1,024 of them, up to
 * 4 MiB: each piece costs signatures, messages and turns of several agents, and too few of them spread slowly.
 */
const SMALL_PIECE_BYTES = 256 * 1024;
const SMALL_BLOB_BYTES = 32 * 1024 * 1024;
export const MAX_PIECE_BYTES: number = 4 * 1024 * 1024;
const TARGET_PIECES = 1024;

/** The size in bytes of every piece but the last, for a blob of `sizeBytes`. */
export function pieceSizeOf(sizeBytes: number): number {
  if (sizeBytes <= SMALL_BLOB_BYTES) return SMALL_PIECE_BYTES;
  let piece = 2 * SMALL_PIECE_BYTES;
  while (piece < MAX_PIECE_BYTES && sizeBytes > piece * TARGET_PIECES) piece *= 2;
  return piece;
}

/** The number of pieces; an empty blob has none. */
export function pieceCountOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / pieceSizeOf(sizeBytes));
}

/** Where piece `index` lies in the blob, in bytes; the last one may be short. */
export function pieceExtent(sizeBytes: number, index: number): { offset: number; length: number } {
  const piece = pieceSizeOf(sizeBytes);
  const offset = index * piece;
  return { offset, length: Math.min(piece, sizeBytes - offset) };
}
