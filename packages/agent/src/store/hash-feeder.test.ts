import { PieceMap } from '@shoal/swarm';
import { expect, test } from 'vitest';
import { HashFeeder } from './hash-feeder.ts';

function feederWith(...held: number[]) {
  const clock = { ms: 0 };
  const pieces = PieceMap.empty(64);
  for (const index of held) pieces.add(index);
  return { clock, pieces, feeder: new HashFeeder(pieces, () => clock.ms) };
}

test('nobody is expected before somebody has read what was next', () => {
  const { feeder } = feederWith(0);
  expect(feeder.isExpected(0)).toBe(false);
  feeder.fed();
  expect(feeder.isExpected(1)).toBe(true);
});

test('a reader that waits for its piece is expected for as long as that takes, and a second more', () => {
  const { feeder, pieces, clock } = feederWith(0, 2);
  feeder.fed();
  clock.ms = 60_000;
  expect(feeder.isExpected(1)).toBe(true);
  pieces.add(1);
  feeder.arrived();
  clock.ms += 900;
  expect(feeder.isExpected(1)).toBe(true);
  clock.ms += 200;
  expect(feeder.isExpected(1)).toBe(false);
});

test('a reader that let its time pass is not waited for again until it reads', () => {
  const { feeder, pieces, clock } = feederWith(0, 1);
  feeder.fed();
  clock.ms = 1_100;
  expect(feeder.isExpected(1)).toBe(false);
  pieces.add(2);
  feeder.arrived();
  expect(feeder.isExpected(2)).toBe(false);
  feeder.fed();
  expect(feeder.isExpected(3)).toBe(true);
});

test('a reader that is far behind is not waited for', () => {
  const { feeder } = feederWith(...Array.from({ length: 40 }, (_, index) => index));
  feeder.fed();
  expect(feeder.isExpected(10)).toBe(false);
  expect(feeder.isExpected(30)).toBe(true);
});
