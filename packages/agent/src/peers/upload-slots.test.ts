import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UploadSlots, type UploadSlotsOptions } from './upload-slots.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const never = new AbortController().signal;
const settle = () => vi.advanceTimersByTimeAsync(0);

function slots(options: Partial<UploadSlotsOptions> = {}) {
  const subject = new UploadSlots(
    { slots: 8, queueLimit: 16, slotsPerPeer: 8, queuePerPeer: 16, ...options },
    { now: () => performance.now() },
  );
  /** What became of each request, by its name: `peer` or `peer*` for a newcomer. */
  const outcomes: Record<string, 'held' | 'busy'> = {};
  const releases = new Map<string, () => void>();
  const ask = (name: string, signal: AbortSignal = never) => {
    const request = { peerId: name.replace(/[*.].*/, ''), newcomer: name.includes('*') };
    void subject.take(request, signal).then((release) => {
      outcomes[name] = release === undefined ? 'busy' : 'held';
      if (release !== undefined) releases.set(name, release);
    });
  };
  const askAll = (count: number, name: (n: number) => string) => {
    for (let n = 0; n < count; n++) ask(name(n));
  };
  const count = (outcome: 'held' | 'busy', of: RegExp = /./) =>
    Object.entries(outcomes).filter(([name, was]) => was === outcome && of.test(name)).length;
  return { subject, outcomes, releases, ask, askAll, count };
}

test('a quarter of slots and queue is kept for newcomers', async () => {
  const { ask, askAll, count, outcomes } = slots();
  askAll(50, (n) => `old${n}`);
  await settle();
  expect([count('held'), count('busy')]).toEqual([6, 50 - 6 - 12]);
  askAll(10, (n) => `new${n}*`);
  await settle();
  expect([count('held', /new/), count('busy', /new/)]).toEqual([2, 10 - 2 - 4]);
  ask('late');
  await settle();
  expect(outcomes.late).toBe('busy');
});

test('newcomers may have all of it when nobody else is there', async () => {
  const { askAll, count } = slots();
  askAll(30, (n) => `new${n}*`);
  await settle();
  expect([count('held'), count('busy')]).toEqual([8, 30 - 8 - 16]);
});

test('a freed slot goes to who waits longest, among those who may have it', async () => {
  const { ask, askAll, releases, outcomes } = slots({ slots: 4, queueLimit: 8 });
  askAll(3, (n) => `old${n}`);
  ask('new0*');
  ask('waits1');
  ask('waits2*');
  ask('waits3');
  await settle();
  releases.get('new0*')?.();
  await settle();
  // The slot of a newcomer, for a newcomer.
  expect(outcomes).not.toHaveProperty('waits1');
  expect(outcomes['waits2*']).toBe('held');
  releases.get('old1')?.();
  await settle();
  expect(outcomes.waits1).toBe('held');
  expect(outcomes).not.toHaveProperty('waits3');
});

test('one peer gets no more than its share of slots and queue, whatever it asks for', async () => {
  const { ask, askAll, releases, outcomes, count } = slots({ slotsPerPeer: 4, queuePerPeer: 4 });
  askAll(20, (n) => `greedy.${n}`);
  await settle();
  expect([count('held'), count('busy')]).toEqual([4, 12]);
  ask('other');
  await settle();
  expect(outcomes.other).toBe('held');
  releases.get('other')?.();
  await settle();
  expect(count('held', /greedy/)).toBe(4);
  releases.get('greedy.0')?.();
  await settle();
  expect(count('held', /greedy/)).toBe(5);
});

test('who waits too long is told to go elsewhere, who leaves is forgotten', async () => {
  const { ask, outcomes, releases } = slots({ slots: 1, queueLimit: 4 });
  const leaving = new AbortController();
  ask('holds');
  ask('leaves', leaving.signal);
  ask('waits');
  await settle();
  leaving.abort();
  await settle();
  expect(outcomes).toEqual({ holds: 'held', leaves: 'busy' });
  await vi.advanceTimersByTimeAsync(500);
  expect(outcomes.waits).toBe('busy');
  releases.get('holds')?.();
  ask('next');
  await settle();
  expect(outcomes.next).toBe('held');
  expect(vi.getTimerCount()).toBe(0);
});

test('a single slot is for everybody', async () => {
  const { ask, outcomes } = slots({ slots: 1, queueLimit: 2, slotsPerPeer: 1, queuePerPeer: 1 });
  ask('old');
  await settle();
  expect(outcomes.old).toBe('held');
});

test('whoever is refused is told when the queue may have moved on', async () => {
  const { ask, askAll, subject, releases } = slots();
  const waits: number[] = [];
  for (const holdMs of [1, 1, 400, 400, 400]) {
    for (let round = 0; round < 20; round++) {
      ask('p*');
      await settle();
      await vi.advanceTimersByTimeAsync(holdMs);
      releases.get('p*')?.();
      await settle();
    }
    waits.push(subject.retryAfterMs);
  }
  expect(waits[1]).toBe(20);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(50);
  askAll(30, (n) => `q${n}*`);
  await settle();
  expect(subject.retryAfterMs).toBeGreaterThan(400);
  expect(subject.retryAfterMs).toBeLessThanOrEqual(1_000);
});

test('never more slots than there are, and everybody is answered', async () => {
  const requests = fc.array(
    fc.record({
      peer: fc.integer({ min: 0, max: 5 }),
      newcomer: fc.boolean(),
      holdMs: fc.integer({ min: 1, max: 300 }),
    }),
    { maxLength: 80 },
  );
  await fc.assert(
    fc.asyncProperty(requests, fc.integer({ min: 1, max: 9 }), async (all, count) => {
      const subject = new UploadSlots(
        { slots: count, queueLimit: 2 * count, slotsPerPeer: Math.ceil(count / 2), queuePerPeer: count },
        { now: () => performance.now() },
      );
      let held = 0;
      let answered = 0;
      const heldBy = new Map<number, number>();
      const work = all.map(async ({ peer, newcomer, holdMs }) => {
        const release = await subject.take({ peerId: String(peer), newcomer }, never);
        answered++;
        if (release === undefined) return;
        heldBy.set(peer, (heldBy.get(peer) ?? 0) + 1);
        expect(++held).toBeLessThanOrEqual(count);
        expect(heldBy.get(peer)).toBeLessThanOrEqual(Math.ceil(count / 2));
        await new Promise((resolve) => setTimeout(resolve, holdMs));
        held--;
        heldBy.set(peer, (heldBy.get(peer) ?? 1) - 1);
        release();
        release();
      });
      await vi.advanceTimersByTimeAsync(60_000);
      await Promise.all(work);
      expect(answered).toBe(all.length);
      expect(vi.getTimerCount()).toBe(0);
    }),
    { numRuns: 40 },
  );
});
