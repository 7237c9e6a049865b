import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { burstBytes, MIN_BURST_BYTES, RateLimit, takeAll } from './rate-limit.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const never = new AbortController().signal;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** Takes over and over until `untilMs` of virtual time, and returns what was granted when. */
async function takers(takes: (() => Promise<void> | undefined)[], bytes: number, untilMs: number) {
  const granted: { atMs: number; taker: number }[] = [];
  const endMs = performance.now() + untilMs;
  const work = takes.map(async (take, taker) => {
    while (performance.now() < endMs) {
      await take();
      granted.push({ atMs: performance.now(), taker });
    }
  });
  // As long as anybody waits.
  for (let done = false; !done; ) {
    void Promise.all(work).then(() => {
      done = true;
    });
    await vi.advanceTimersByTimeAsync(1);
  }
  const bytesOf = (taker: number) => granted.filter((one) => one.taker === taker).length * bytes;
  return { granted, bytesOf, total: granted.length * bytes };
}

test('never lets more pass than the rate and one burst, in any stretch of time, and no less than the rate', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 64 * KiB, max: 200 * MiB }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 4 * KiB, max: 256 * KiB }),
      async (bytesPerSecond, parallel, bytes) => {
        fc.pre(bytesPerSecond / bytes < 2_000);
        const lane = new RateLimit({ bytesPerSecond }).lane();
        const takes = Array.from({ length: parallel }, () => () => lane.take(bytes));
        const { granted } = await takers(takes, bytes, 3_000);
        const slack = burstBytes(bytesPerSecond) + bytes;
        let start = 0;
        for (const [at, { atMs }] of granted.entries()) {
          while (atMs - (granted[start]?.atMs ?? 0) > 500) start++;
          const spanMs = atMs - (granted[start]?.atMs ?? 0);
          expect((at - start + 1) * bytes).toBeLessThanOrEqual(slack + (bytesPerSecond * spanMs) / 1000 + 1);
        }
        const seconds = (granted.at(-1)?.atMs ?? 0) / 1000 - (granted[0]?.atMs ?? 0) / 1000;
        expect(granted.length * bytes).toBeGreaterThanOrEqual(bytesPerSecond * seconds * 0.9);
      },
    ),
    { numRuns: 25 },
  );
});

test('what is there passes at once, without a promise or a timer', () => {
  const lane = new RateLimit({ bytesPerSecond: 10 * MiB }).lane();
  expect(lane.take(MiB / 2)).toBeUndefined();
  expect(lane.take(MiB / 2)).toBeUndefined();
  expect(vi.getTimerCount()).toBe(0);
});

test('serves in the order of arrival, also those who ask for little behind those who ask for much', async () => {
  const lane = new RateLimit({ bytesPerSecond: MiB }).lane();
  const order: number[] = [];
  const sizes = [4 * MiB, MiB, 1, 1, 2 * MiB, 1];
  const all = sizes.map((bytes, at) => Promise.resolve(lane.take(bytes)).then(() => order.push(at)));
  await vi.advanceTimersByTimeAsync(10_000);
  await Promise.all(all);
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
});

test('what is more than the burst passes as a whole and is paid for afterwards', async () => {
  const lane = new RateLimit({ bytesPerSecond: MiB }).lane();
  expect(lane.take(4 * MiB)).toBeUndefined();
  let passed = false;
  const next = lane.take(1)?.then(() => {
    passed = true;
  });
  await vi.advanceTimersByTimeAsync(3_800);
  expect(passed).toBe(false);
  await vi.advanceTimersByTimeAsync(200);
  await next;
  expect(passed).toBe(true);
});

test('lanes share alike, whatever the size of what they take', async () => {
  const limit = new RateLimit({ bytesPerSecond: 10 * MiB });
  const [small, large] = [limit.lane(), limit.lane()];
  const passed = { small: 0, large: 0 };
  const run = async (name: 'small' | 'large', take: () => Promise<void> | undefined, bytes: number) => {
    while (performance.now() < 10_000) {
      await take();
      passed[name] += bytes;
    }
  };
  const startMs = performance.now();
  const work = [
    run('small', () => small.take(64 * KiB), 64 * KiB),
    ...Array.from({ length: 8 }, () => run('large', () => large.take(4 * MiB), 4 * MiB)),
  ];
  await vi.advanceTimersByTimeAsync(10_000 - startMs);
  expect(passed.small / (passed.small + passed.large)).toBeGreaterThan(0.3);
  await vi.advanceTimersByTimeAsync(10_000);
  await Promise.all(work);
});

test('a lane that comes back from a pause does not make up for it', async () => {
  const limit = new RateLimit({ bytesPerSecond: MiB });
  const [steady, late] = [limit.lane(), limit.lane()];
  const { granted } = await takers(
    [
      () => steady.take(64 * KiB),
      () => (performance.now() < 4_000 ? new Promise((resolve) => setTimeout(resolve, 100)) : late.take(64 * KiB)),
    ],
    64 * KiB,
    8_000,
  );
  const inLastHalf = granted.filter(({ atMs }) => atMs >= 4_500 && atMs < 7_500);
  const ofSteady = inLastHalf.filter(({ taker }) => taker === 0).length / inLastHalf.length;
  expect(ofSteady).toBeGreaterThan(0.4);
  expect(ofSteady).toBeLessThan(0.6);
});

test('whoever gives up takes nothing, and lets the next one in', async () => {
  const lane = new RateLimit({ bytesPerSecond: MiB }).lane();
  void lane.take(MIN_BURST_BYTES * 2);
  const impatient = new AbortController();
  const first = lane.take(100 * MiB, impatient.signal);
  let passed = false;
  const second = lane.take(1, never)?.then(() => {
    passed = true;
  });
  impatient.abort(new Error('gave up'));
  await expect(first).rejects.toThrow('gave up');
  await vi.advanceTimersByTimeAsync(200);
  await second;
  expect(passed).toBe(true);
  await expect(lane.take(1, impatient.signal)).rejects.toThrow('gave up');
});

test('what passed unasked is paid for by the next, and what is given back is there again', async () => {
  const lane = new RateLimit({ bytesPerSecond: MiB }).lane();
  lane.spend(MiB);
  const waiting = lane.take(64 * KiB);
  expect(waiting).toBeInstanceOf(Promise);
  lane.spend(-MiB);
  await waiting;
});

test('under two limits the narrower one counts, and the wider one is left to others', async () => {
  const wide = new RateLimit({ bytesPerSecond: 4 * MiB }).lane();
  const narrow = new RateLimit({ bytesPerSecond: MiB }).lane();
  const bytes = 64 * KiB;
  const { bytesOf } = await takers([() => takeAll([narrow, wide], bytes), () => wide.take(bytes)], bytes, 10_000);
  expect(bytesOf(0) / MiB).toBeGreaterThan(9);
  expect(bytesOf(0) / MiB).toBeLessThan(11);
  expect(bytesOf(1) / MiB).toBeGreaterThan(28);
});

test('leave under two limits that is given up in between is given back', async () => {
  const first = new RateLimit({ bytesPerSecond: MiB }).lane();
  const second = new RateLimit({ bytesPerSecond: MiB }).lane();
  second.spend(10 * MiB);
  const stop = new AbortController();
  const both = takeAll([first, second], 64 * KiB, stop.signal);
  stop.abort(new Error('gave up'));
  await expect(both).rejects.toThrow('gave up');
  expect(first.take(burstBytes(MiB))).toBeUndefined();
});
