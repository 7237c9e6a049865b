import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { boundSeconds } from './bound.ts';

const image = { imageBytes: 512_000_000, bytesPerSecond: 5_000_000 };

describe('boundSeconds', () => {
  test('one node waits for the origin alone', () => {
    expect(boundSeconds({ ...image, nodes: 1, pieces: 512 })).toBe(102.4);
  });

  test('an image of one piece is passed on as a whole, the holders doubling each time', () => {
    expect(boundSeconds({ ...image, nodes: 8, pieces: 1 })).toBeCloseTo(4 * 102.4);
    expect(boundSeconds({ ...image, nodes: 15, pieces: 1 })).toBeCloseTo(4 * 102.4);
    expect(boundSeconds({ ...image, nodes: 16, pieces: 1 })).toBeCloseTo(5 * 102.4);
  });

  test('more nodes never make it shorter, smaller pieces never longer', () => {
    const count = fc.integer({ min: 1, max: 10_000 });
    fc.assert(
      fc.property(count, count, (nodes, pieces) => {
        const seconds = boundSeconds({ ...image, nodes, pieces });
        expect(boundSeconds({ ...image, nodes: nodes + 1, pieces })).toBeGreaterThanOrEqual(seconds);
        expect(boundSeconds({ ...image, nodes, pieces: pieces + 1 })).toBeLessThanOrEqual(seconds);
      }),
    );
  });
});
