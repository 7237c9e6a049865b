import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PieceMemory } from './piece-memory.ts';

const never = new AbortController().signal;

it('never lends more than its limit, in order, and everybody is served', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 40 }), async (wants) => {
      const memory = new PieceMemory(100);
      const order: number[] = [];
      let lent = 0;
      await Promise.all(
        wants.map(async (bytes, turn) => {
          const { giveBack } = await memory.borrow(bytes, never);
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
  const memory = new PieceMemory(100);
  const { giveBack } = await memory.borrow(60, never);
  const impatient = new AbortController();
  const first = memory.borrow(80, impatient.signal);
  const second = memory.borrow(40, never);
  impatient.abort(new Error('gave up'));
  await expect(first).rejects.toThrow('gave up');
  (await second).giveBack();
  giveBack();
  (await memory.borrow(100, never)).giveBack();
});

it('lends the same bytes again while others are lent, and keeps none when nothing is', async () => {
  const memory = new PieceMemory(100);
  const [held, first] = [await memory.borrow(10, never), await memory.borrow(20, never)];
  first.giveBack();
  const [again, other] = [await memory.borrow(20, never), await memory.borrow(20, never)];
  expect(again.bytes).toBe(first.bytes);
  expect(other.bytes).not.toBe(first.bytes);
  for (const lent of [again, other, held]) lent.giveBack();
  expect((await memory.borrow(20, never)).bytes).not.toBe(first.bytes);
});

it('spare bytes make room for what is borrowed', async () => {
  const memory = new PieceMemory(100);
  const [held, spare] = [await memory.borrow(10, never), await memory.borrow(80, never)];
  spare.giveBack();
  const other = await memory.borrow(40, never);
  other.giveBack();
  expect((await memory.borrow(80, never)).bytes).not.toBe(spare.bytes);
  held.giveBack();
});

it('takes another limit while it is lent and waited for', async () => {
  const memory = new PieceMemory(100);
  const [first, second] = [await memory.borrow(60, never), await memory.borrow(40, never)];
  const waiting = memory.borrow(90, never);
  memory.resize(50);
  expect(memory.waiting).toBe(1);
  first.giveBack();
  expect(memory.waiting).toBe(1);
  second.giveBack();
  (await waiting).giveBack();
  expect(memory.lentBytes).toBe(0);

  const held = await memory.borrow(50, never);
  const next = memory.borrow(30, never);
  memory.resize(80);
  (await next).giveBack();
  held.giveBack();
  expect(memory.lentBytes).toBe(0);
});
