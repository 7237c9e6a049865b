import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Runs } from './runs.ts';

const SIZE = 40;
const edit = fc.record({
  add: fc.boolean(),
  from: fc.integer({ min: 0, max: SIZE }),
  to: fc.integer({ min: 0, max: SIZE }),
});

test('it is the set that single indexes would make, in sorted runs that do not touch', () => {
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 30 }), (edits) => {
      const runs = new Runs();
      const model = new Set<number>();
      for (const { add, from, to } of edits) {
        if (add) runs.add(from, to);
        else runs.remove(from, to);
        for (let index = from; index < to; index++) {
          if (add) model.add(index);
          else model.delete(index);
        }
      }
      const all = [...runs];
      for (const [at, run] of all.entries()) {
        expect(run.from).toBeLessThan(run.to);
        if (at > 0) expect(run.from).toBeGreaterThan(all[at - 1]?.to ?? 0);
      }
      expect(runs.size).toBe(model.size);
      for (let index = 0; index < SIZE; index++) expect(runs.has(index)).toBe(model.has(index));
      const inside = runs.within(5, 25).reduce((sum, { from, to }) => sum + to - from, 0);
      const outside = runs.outside(5, 25).reduce((sum, { from, to }) => sum + to - from, 0);
      expect(inside + outside).toBe(20);
    }),
  );
});
