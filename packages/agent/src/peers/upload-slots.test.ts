import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UploadSlots } from './upload-slots.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const never = new AbortController().signal;
const settle = () => vi.advanceTimersByTimeAsync(0);

function slots(options: { slots?: number; queueLimit?: number; slotsPerPeer?: number } = {}) {
  const subject = new UploadSlots({ slots: 1, queueLimit: 2, ...options }, { now: () => performance.now() });
  const outcomes: Record<string, 'held' | 'busy'> = {};
  const releases = new Map<string, () => void>();
  const ask = (peer: string, patience = 0, signal: AbortSignal = never) => {
    void subject.take({ peer, piece: 'x', patience }, signal).then((release) => {
      outcomes[peer] = release === undefined ? 'busy' : 'held';
      if (release !== undefined) releases.set(peer, release);
    });
  };
  return { subject, outcomes, releases, ask };
}

test('a slot that is given back goes to the one that has the least', async () => {
  const { ask, outcomes, releases } = slots();
  for (const [peer, held] of Object.entries({ first: 0, rich: 900, poor: 10 })) ask(peer, held);
  await settle();
  expect(outcomes).toEqual({ first: 'held' });
  releases.get('first')?.();
  await settle();
  expect(outcomes).toEqual({ first: 'held', poor: 'held' });
});

test('a newcomer finds a place in a full queue; the one that has the most is busy at once', async () => {
  const { ask, outcomes } = slots();
  for (const [peer, held] of Object.entries({ first: 0, rich: 900, middling: 500, newcomer: 0 })) ask(peer, held);
  await settle();
  expect(outcomes).toEqual({ first: 'held', rich: 'busy' });
});

test('nobody waits longer than 500 ms', async () => {
  const { ask, outcomes } = slots();
  ask('first');
  ask('second');
  await vi.advanceTimersByTimeAsync(499);
  expect(outcomes.second).toBeUndefined();
  await vi.advanceTimersByTimeAsync(2);
  expect(outcomes.second).toBe('busy');
});

test('who goes away leaves the queue, and a slot given back twice counts once', async () => {
  const { ask, outcomes, releases } = slots();
  const leaving = new AbortController();
  ask('first');
  ask('leaver', 0, leaving.signal);
  ask('third', 5);
  leaving.abort();
  await settle();
  expect(outcomes).toEqual({ first: 'held', leaver: 'busy' });
  releases.get('first')?.();
  releases.get('first')?.();
  ask('fourth', 1);
  await settle();
  expect(outcomes).toEqual({ first: 'held', leaver: 'busy', third: 'held' });
});

test('the pause asked for grows with the time that slots are held', async () => {
  const { subject, ask, releases } = slots({ queueLimit: 0 });
  const before = subject.retryAfterMs;
  ask('slow');
  await vi.advanceTimersByTimeAsync(2_000);
  releases.get('slow')?.();
  expect(subject.retryAfterMs).toBeGreaterThan(before);
  expect(subject.retryAfterMs).toBeLessThanOrEqual(1_000);
});
