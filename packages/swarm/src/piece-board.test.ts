import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ASKED, HERE, LEASED, PieceBoard, READY, type Standing, UNCOVERED } from './piece-board.ts';
import { seededRandom } from './random.ts';

const PIECES = 24;
const STANDINGS: readonly Standing[] = [HERE, ASKED, LEASED, READY, UNCOVERED];

test('counts, first and samples agree with where each piece stands', () => {
  const moves = fc.array(fc.tuple(fc.nat(PIECES - 1), fc.constantFrom(...STANDINGS)), { maxLength: 120 });
  fc.assert(
    fc.property(moves, fc.integer(), fc.integer({ min: 1, max: PIECES }), (sequence, seed, size) => {
      const board = new PieceBoard(PIECES);
      const model = new Array<Standing>(PIECES).fill(UNCOVERED);
      const random = seededRandom(seed);
      const into = new Int32Array(size);
      for (const [index, standing] of sequence) {
        board.set(index, standing);
        model[index] = standing;
        const ready = model.flatMap((stands, at) => (stands === READY ? [at] : []));
        const sampled = [...into.subarray(0, board.sampleReady(into, random))];
        expect(new Set(sampled).size).toBe(Math.min(size, ready.length));
        for (const piece of sampled) expect(ready).toContain(piece);
      }
      for (const standing of STANDINGS) {
        expect(board.count(standing)).toBe(model.filter((stands) => stands === standing).length);
        const first = model.indexOf(standing);
        expect(board.first(standing)).toBe(first < 0 ? undefined : first);
      }
    }),
  );
});

test('every ready piece is sampled about as often as any other', () => {
  const board = new PieceBoard(PIECES);
  for (let index = 0; index < PIECES; index++) board.set(index, READY);
  const drawn = new Uint32Array(PIECES);
  const random = seededRandom(3);
  const into = new Int32Array(4);
  for (let round = 0; round < 6_000; round++) {
    const count = board.sampleReady(into, random);
    for (const index of into.subarray(0, count)) drawn[index] = (drawn[index] ?? 0) + 1;
  }
  for (const times of drawn) expect(times).toBeGreaterThan(850);
  for (const times of drawn) expect(times).toBeLessThan(1_150);
});
