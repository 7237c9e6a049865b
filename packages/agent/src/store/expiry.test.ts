import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Shedding } from './blob-store.ts';
import { Expiry } from './expiry.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const nothing = { blobs: [], partials: 0, bytes: 0 };

test('it looks at the start and then, idle or not, ten times within the time of a blob', async () => {
  const asked: [Shedding, string][] = [];
  const store = {
    shed: async (shedding: Shedding, reason: string) => {
      asked.push([shedding, reason]);
      return nothing;
    },
  };
  const expiry = new Expiry({ ttlMs: 60_000 }, { store, logger: pino({ level: 'silent' }), clock: Date.now });
  vi.setSystemTime(1_000_000);
  await expiry.start();
  expect(asked).toEqual([[{ unusedSinceMs: 940_000 }, 'expired']]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(11);
  expect(asked.at(-1)).toEqual([{ unusedSinceMs: 1_000_000 }, 'expired']);
  await expiry.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(11);
});

test('a look that fails is followed by another one', async () => {
  let looks = 0;
  const store = {
    shed: async () => {
      if (++looks === 1) throw new Error('no disk');
      return nothing;
    },
  };
  const expiry = new Expiry({ ttlMs: 10_000 }, { store, logger: pino({ level: 'silent' }), clock: Date.now });
  await expiry.start();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(looks).toBe(2);
  await expiry.stop();
});
