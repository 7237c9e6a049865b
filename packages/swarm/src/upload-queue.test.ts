import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UploadQueue, type UploadRequest } from './upload-queue.ts';

const ask = (piece: string, held: number): UploadRequest => ({ piece, held });

test('what was never sent goes first, then whoever has the least, then whoever waited longest', () => {
  const queue = new UploadQueue({ slots: 1, queueLimit: 10 });
  expect(queue.ask(ask('a', 0), 0).start).toHaveLength(1);
  const requests = [ask('a', 0.1), ask('b', 0.9), ask('c', 0.5), ask('a', 0), ask('c', 0.5)];
  for (const request of requests) queue.ask(request, 1);
  const order: UploadRequest[] = [];
  for (let turn = queue.ended(2); turn.start[0] !== undefined; turn = queue.ended(2)) order.push(turn.start[0]);
  expect(order).toEqual([requests[2], requests[1], requests[3], requests[0], requests[4]]);
});

test('a full queue sends away the one that has the most, a newcomer never for an old hand', () => {
  const queue = new UploadQueue({ slots: 1, queueLimit: 2 });
  queue.ask(ask('x', 0), 0);
  for (const held of [0.5, 0.7]) queue.ask(ask('x', held), 0);
  expect(queue.ask(ask('x', 0.9), 0).refuse).toEqual([ask('x', 0.9)]);
  expect(queue.ask(ask('x', 0), 0).refuse).toEqual([ask('x', 0.7)]);
});

test('nobody waits longer than allowed, and who left is forgotten', () => {
  const queue = new UploadQueue({ slots: 1, queueLimit: 4, waitMs: 500 });
  queue.ask(ask('x', 0), 0);
  const left = ask('x', 0);
  queue.ask(ask('x', 0.5), 100);
  queue.ask(left, 100);
  queue.leave(left);
  expect(queue.expire(599).refuse).toEqual([]);
  expect(queue.expire(600).refuse).toEqual([ask('x', 0.5)]);
  expect(queue.ended(601).start).toEqual([]);
});

test('slots and queue are never exceeded, and every request is started or refused once', () => {
  const step = fc.record({ ends: fc.boolean(), piece: fc.nat(5), held: fc.nat(10) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new UploadQueue<UploadRequest & { id: number }>({ slots: 3, queueLimit: 6 });
      const answered = new Set<number>();
      let busy = 0;
      let asked = 0;
      for (const [now, { ends, piece, held }] of steps.entries()) {
        if (ends && busy === 0) continue;
        if (ends) busy--;
        const turn = ends ? queue.ended(now) : queue.ask({ piece: `p${piece}`, held: held / 10, id: asked++ }, now);
        busy += turn.start.length;
        for (const { id } of [...turn.start, ...turn.refuse]) {
          expect(answered.has(id)).toBe(false);
          answered.add(id);
        }
        expect(busy).toBeLessThanOrEqual(3);
        expect(queue.waiting).toBeLessThanOrEqual(6);
        expect(answered.size + queue.waiting).toBe(asked);
      }
    }),
  );
});
