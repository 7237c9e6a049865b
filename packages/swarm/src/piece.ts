/**
 * How a blob is cut into pieces. A pure function of the blob's size, so agents that never met agree on it.
 * Pieces double from 256 KiB until a blob has at most 1,024 of them, and stop at 4 MiB.
 */
const MIN_PIECE_BYTES = 256 * 1024;
export const MAX_PIECE_BYTES: number = 4 * 1024 * 1024;
const TARGET_PIECES = 1024;

/** The size in bytes of every piece but the last, for a blob of `sizeBytes`. */
export function pieceSizeOf(sizeBytes: number): number {
  let piece = MIN_PIECE_BYTES;
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
