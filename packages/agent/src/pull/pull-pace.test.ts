import { expect, test } from 'vitest';
import { RateLimit } from '../rate/rate-limit.ts';
import { PullPace } from './pull-pace.ts';

const MiB = 2 ** 20;
const never = new AbortController().signal;

/** A rate at which nothing more passes within this test once the first take did. */
function exhausted(): PullPace {
  const limit = new RateLimit({ bytesPerSecond: 1_000 }, () => 0);
  const pace = new PullPace({ background: { lane: limit.lane() } });
  expect(pace.take(MiB, never)).toBeUndefined();
  return pace;
}

test('a client is held back by nothing, nor is what has no rate', () => {
  expect(new PullPace({}).take(MiB, never)).toBeUndefined();
  const unlimited = new PullPace({ background: { lane: undefined } });
  expect([unlimited.inBackground, unlimited.take(MiB, never)]).toEqual([true, undefined]);
});

test('who waits in the background goes on as soon as a client wants the same', async () => {
  const pace = exhausted();
  const waiting = pace.take(MiB, never);
  expect(waiting).toBeInstanceOf(Promise);
  pace.lift();
  await waiting;
  expect([pace.inBackground, pace.take(MiB, never)]).toEqual([false, undefined]);
});

test('a wait ends with its signal', async () => {
  const pace = exhausted();
  const stop = new AbortController();
  const waiting = pace.take(MiB, stop.signal);
  stop.abort(new Error('not needed'));
  await expect(waiting).rejects.toThrow('not needed');
});
