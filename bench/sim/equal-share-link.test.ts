import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EqualShareLink } from './equal-share-link.ts';

const RATE = 125_000;

/** Runs the link until all that was given to it has ended; what starts is in order of time. */
function play(link: EqualShareLink<number>, jobs: readonly { atMs: number; bytes: number }[]): Map<number, number> {
  const ends = new Map<number, number>();
  const endBefore = (untilMs: number): void => {
    for (let at = link.nextEndMs(); at <= untilMs && at < Number.POSITIVE_INFINITY; at = link.nextEndMs()) {
      for (let job = link.takeEnded(at); job !== undefined; job = link.takeEnded(at)) ends.set(job, at);
    }
  };
  for (const [index, { atMs, bytes }] of jobs.entries()) {
    endBefore(atMs);
    link.add(index, bytes, atMs);
  }
  endBefore(Number.MAX_VALUE);
  return ends;
}

test('a transfer by itself has the whole link, two have half of it each', () => {
  const link = new EqualShareLink<number>(RATE);
  const ends = play(link, [
    { atMs: 0, bytes: RATE * 10 },
    { atMs: 5, bytes: RATE * 10 },
  ]);
  // 5 ms alone, then half the rate: 5 more at half are 10 ms; the other one then has 5 left by itself.
  expect(ends.get(0)).toBeCloseTo(15);
  expect(ends.get(1)).toBeCloseTo(20);
});

test('one transfer takes no more than its own limit', () => {
  const link = new EqualShareLink<number>(10 * RATE, RATE);
  expect(play(link, [{ atMs: 0, bytes: RATE * 8 }]).get(0)).toBeCloseTo(8);
});

test('whatever comes when, the link carries its rate while it is busy, and every byte once', () => {
  const arrivals = fc.array(
    fc.record({ gapMs: fc.integer({ min: 0, max: 20 }), bytes: fc.integer({ min: 1, max: 3_000_000 }) }),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(arrivals, (gaps) => {
      let atMs = 0;
      const jobs = gaps.map(({ gapMs, bytes }) => {
        atMs += gapMs;
        return { atMs, bytes };
      });
      const link = new EqualShareLink<number>(RATE);
      const ends = play(link, jobs);
      expect(ends.size).toBe(jobs.length);
      const total = jobs.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(link.sentBytes(1e9) / total).toBeCloseTo(1, 6);
      // A queue that carries one transfer after the other at full rate becomes empty at the same moments.
      let free = 0;
      for (const { atMs: start, bytes } of jobs) free = Math.max(free, start) + bytes / RATE;
      expect(Math.max(...ends.values())).toBeCloseTo(free, 3);
      for (const [index, end] of ends) {
        const { atMs: start, bytes } = jobs[index]!;
        expect(end - start).toBeGreaterThan(bytes / RATE - 1e-6);
      }
    }),
  );
});

test('what is removed leaves its share to the others, and tells how far it came', () => {
  const link = new EqualShareLink<string>(RATE);
  link.add('a', 10 * RATE, 0);
  link.add('b', 10 * RATE, 0);
  expect(link.carried('a', 2)).toBeCloseTo(RATE);
  expect(link.remove('a', 4)).toBeCloseTo(2 * RATE);
  expect(link.remove('a', 4)).toBeUndefined();
  expect(link.nextEndMs()).toBeCloseTo(12);
});

test('a paused link carries nothing', () => {
  const link = new EqualShareLink<string>(RATE);
  link.add('a', 10 * RATE, 0);
  link.pause(4);
  expect(link.nextEndMs()).toBe(Number.POSITIVE_INFINITY);
  expect(link.takeEnded(100)).toBeUndefined();
  link.resume(100);
  expect(link.nextEndMs()).toBeCloseTo(106);
  expect(link.takeEnded(106)).toBe('a');
});
