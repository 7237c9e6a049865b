import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CALL, Timeline } from './timeline.ts';

test('events happen in the order of their times, those of one time in the order they were made', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 3_000 }), (times) => {
      const timeline = new Timeline();
      for (const [made, atMs] of times.entries()) timeline.at(atMs, 1, made, made + 7);
      const expected = [...times.entries()].sort(([a, atA], [b, atB]) => atA - atB || a - b);
      for (const [made, atMs] of expected) {
        expect(timeline.next()).toBe(true);
        expect([timeline.nowMs, timeline.kind, timeline.a, timeline.b]).toEqual([atMs, 1, made, made + 7]);
      }
      expect(timeline.next()).toBe(false);
    }),
    { numRuns: 30 },
  );
});

test('events made on the way find their place, and nothing happens in the past', () => {
  const timeline = new Timeline();
  timeline.at(10, 1, 0, 0);
  timeline.at(20, 1, 0, 0);
  timeline.next();
  timeline.at(5, 2, 0, 0);
  timeline.at(15, 3, 0, 0);
  const seen: [number, number][] = [];
  while (timeline.next()) seen.push([timeline.nowMs, timeline.kind]);
  expect(seen).toEqual([
    [10, 2],
    [15, 3],
    [20, 1],
  ]);
});

test('functions are called once, at their time', () => {
  const timeline = new Timeline();
  const calls: string[] = [];
  timeline.later(2, () => calls.push(`b at ${timeline.nowMs}`));
  timeline.later(1, () => {
    calls.push(`a at ${timeline.nowMs}`);
    timeline.later(3, () => calls.push(`c at ${timeline.nowMs}`));
  });
  while (timeline.next()) if (timeline.kind === CALL) timeline.call();
  expect(calls).toEqual(['a at 1', 'b at 2', 'c at 4']);
});
