import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteBudget } from './byte-budget.ts';

const never = new AbortController().signal;

it('never lends more than its limit, in order, and everybody is served', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 40 }), async (wants) => {
      const budget = new ByteBudget(100);
      const order: number[] = [];
      let lent = 0;
      await Promise.all(
        wants.map(async (bytes, turn) => {
          const giveBack = await budget.take(bytes, never);
          lent += Math.min(bytes, 100);
          order.push(turn);
          expect(lent).toBeLessThanOrEqual(100);
          await new Promise((resolve) => setImmediate(resolve));
          lent -= Math.min(bytes, 100);
          giveBack();
        }),
      );
      expect(order).toEqual(wants.map((_, turn) => turn));
    }),
    { numRuns: 30 },
  );
});

it('lets the next one in when the one before it gives up waiting', async () => {
  const budget = new ByteBudget(100);
  const giveBack = await budget.take(60, never);
  const impatient = new AbortController();
  const first = budget.take(80, impatient.signal);
  const second = budget.take(40, never);
  impatient.abort(new Error('gave up'));
  await expect(first).rejects.toThrow('gave up');
  (await second)();
  giveBack();
  (await budget.take(100, never))();
});
