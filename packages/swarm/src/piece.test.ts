import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_PIECE_BYTES, pieceCountOf, pieceExtent, pieceSizeOf } from './piece.ts';
import { PieceMap } from './piece-map.ts';

const KiB = 1024;

describe('pieces of a blob', () => {
  it('cover every byte exactly once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20_000_000_000 }), (sizeBytes) => {
        const count = pieceCountOf(sizeBytes);
        let covered = 0;
        for (const index of new Set([0, 1, count - 2, count - 1])) {
          if (index < 0 || index >= count) continue;
          const { offset, length } = pieceExtent(sizeBytes, index);
          expect(offset).toBe(index * pieceSizeOf(sizeBytes));
          expect(length).toBeGreaterThan(0);
          covered = Math.max(covered, offset + length);
        }
        expect(covered).toBe(sizeBytes);
        expect(pieceSizeOf(sizeBytes)).toBeLessThanOrEqual(MAX_PIECE_BYTES);
      }),
    );
  });
});

it.each([
  [1, 256 * KiB],
  [32 * 1024 * KiB, 256 * KiB],
  [32 * 1024 * KiB + 1, 512 * KiB],
  [512 * 1024 * KiB, 512 * KiB],
  [512 * 1024 * KiB + 1, 1024 * KiB],
  [20 * 1024 * 1024 * KiB, MAX_PIECE_BYTES],
])('of %i bytes are %i long', (sizeBytes, pieceBytes) => {
  expect(pieceSizeOf(sizeBytes)).toBe(pieceBytes);
});

describe('piece map', () => {
  it('comes back from its bytes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.array(fc.nat(299)), (count, indexes) => {
        const map = PieceMap.empty(count);
        for (const index of indexes) map.add(index);
        const back = PieceMap.fromBytes(count, map.toBytes());
        expect(back?.toBytes()).toEqual(map.toBytes());
        expect(back?.held).toBe(new Set(indexes.filter((index) => index < count)).size);
      }),
    );
  });

  it('refuses bytes of another length and ignores bits beyond its end', () => {
    expect(PieceMap.fromBytes(9, new Uint8Array(1))).toBeUndefined();
    const map = PieceMap.fromBytes(9, new Uint8Array([0xff, 0xff]));
    expect(map?.held).toBe(9);
    expect(map?.complete).toBe(true);
  });
});
