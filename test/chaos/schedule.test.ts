import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FAULT_KINDS } from './fault.ts';
import { faultSchedule } from './schedule.ts';

const MINUTES_MS = 120_000;
const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const schedule = (seed: number, durationMs = MINUTES_MS) => faultSchedule({ seed, nodes: 6, durationMs });

test('a seed gives the same faults each time, another one others', () => {
  expect(schedule(7)).toEqual(schedule(7));
  expect(schedule(7)).not.toEqual(schedule(8));
});

test('one fault at a time is at one place, three nodes at the most are hurt, and all are over in time', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const faults = schedule(seed);
      for (const [index, fault] of faults.entries()) {
        expect(fault.endMs).toBeGreaterThan(fault.startMs);
        expect(fault.endMs).toBeLessThanOrEqual(MINUTES_MS);
        const before = faults.slice(0, index).filter(({ endMs }) => endMs > fault.startMs);
        expect(before.map(({ place }) => place)).not.toContain(fault.place);
        expect([...before, fault].filter(({ place }) => place.startsWith('node-')).length).toBeLessThanOrEqual(3);
      }
    }),
  );
});

test('within two minutes every kind comes', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      expect(new Set(schedule(seed).map(({ kind }) => kind))).toEqual(new Set(FAULT_KINDS));
    }),
  );
});

test('a run that is too short for any fault has none', () => {
  expect(schedule(1, 1_000)).toEqual([]);
});
