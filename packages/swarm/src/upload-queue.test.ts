import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UploadQueue, type UploadRequest } from './upload-queue.ts';

const ask = (piece: string, patience: number, peer = 'p'): UploadRequest => ({ piece, patience, peer });

test('what was never sent goes first, then whoever has the least, then whoever waited longest', () => {
  const queue = new UploadQueue({ slots: 1, queueLimit: 10 });
  const first = ask('a', 0);
  expect(queue.ask(first, 0).start).toEqual([first]);
  const requests = [ask('a', 0.1), ask('b', 0.9), ask('c', 0.5), ask('a', 0), ask('c', 0.5)];
  for (const request of requests) queue.ask(request, 1);
  const order: UploadRequest[] = [];
  for (let turn = queue.ended(first, 2); turn.start[0] !== undefined; turn = queue.ended(first, 2)) {
    order.push(turn.start[0]);
  }
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
  const first = ask('x', 0);
  queue.ask(first, 0);
  const left = ask('x', 0);
  queue.ask(ask('x', 0.5), 100);
  queue.ask(left, 100);
  queue.leave(left);
  expect(queue.expire(599).refuse).toEqual([]);
  expect(queue.expire(600).refuse).toEqual([ask('x', 0.5)]);
  expect(queue.ended(first, 601).start).toEqual([]);
});

test('one peer has only its share of slots and queue', () => {
  const queue = new UploadQueue({ slots: 3, queueLimit: 6, slotsPerPeer: 2, queuePerPeer: 2 });
  const asked = Array.from({ length: 6 }, (_, index) => queue.ask(ask(`x${index}`, 0.1 * index, 'greedy'), 0));
  expect(asked.flatMap(({ start }) => start)).toHaveLength(2);
  expect(asked.flatMap(({ refuse }) => refuse)).toHaveLength(2);
  const other = ask('y', 1, 'other');
  expect(queue.ask(other, 0).start).toEqual([other]);
});

test('slots and queue are never exceeded, and every request is started or refused once', () => {
  const step = fc.record({ ends: fc.boolean(), piece: fc.nat(5), patience: fc.nat(10), peer: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new UploadQueue<UploadRequest & { id: number }>({ slots: 3, queueLimit: 6, slotsPerPeer: 2 });
      const answered = new Set<number>();
      const sending: (UploadRequest & { id: number })[] = [];
      let asked = 0;
      for (const [now, { ends, piece, patience, peer }] of steps.entries()) {
        const over = ends ? sending.shift() : undefined;
        if (ends && over === undefined) continue;
        const request = { piece: `p${piece}`, patience, peer: `peer-${peer}`, id: asked };
        if (over === undefined) asked++;
        const turn = over === undefined ? queue.ask(request, now) : queue.ended(over, now);
        sending.push(...turn.start);
        for (const { id } of [...turn.start, ...turn.refuse]) {
          expect(answered.has(id)).toBe(false);
          answered.add(id);
        }
        expect(sending.length).toBeLessThanOrEqual(3);
        for (const one of sending) expect(sending.filter((other) => other.peer === one.peer).length).toBeLessThan(3);
        expect(queue.waiting).toBeLessThanOrEqual(6);
        expect(answered.size + queue.waiting).toBe(asked);
      }
    }),
  );
});

test('with more slots those that wait start at once; with fewer, what was started goes on and nobody new starts', () => {
  const queue = new UploadQueue({ slots: 1, queueLimit: 4 });
  const [first, second, third] = [ask('x', 0, 'p'), ask('y', 0, 'q'), ask('z', 0, 'r')];
  queue.ask(first, 0);
  queue.ask(second, 0);
  expect(queue.resize({ slots: 2, queueLimit: 4 }, 1).start).toEqual([second]);
  queue.ask(third, 1);
  expect(queue.resize({ slots: 1, queueLimit: 4 }, 2)).toEqual({ start: [], refuse: [] });
  expect([queue.sending, queue.waiting]).toEqual([2, 1]);
  expect(queue.ended(first, 3).start).toEqual([]);
  expect(queue.ended(second, 4).start).toEqual([third]);
});
