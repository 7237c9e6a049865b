import { expect, test } from 'vitest';
import { ChangingLimit } from './changing-limit.ts';

const KiB = 1024;

test('a lane follows the limit: none, one, another, none', async () => {
  const limit = new ChangingLimit(undefined);
  const lane = limit.lane();
  expect(limit.laneIfLimited()).toBeUndefined();
  expect(lane.take(1024 * KiB)).toBeUndefined();

  limit.set(640 * KiB);
  expect(limit.laneIfLimited()).toBeDefined();
  expect(lane.take(64 * KiB)).toBeUndefined();
  const slow = lane.take(64 * KiB);
  expect(slow).toBeInstanceOf(Promise);

  limit.set(undefined);
  expect(lane.take(1024 * KiB)).toBeUndefined();
  await slow;
});

test('setting what is set already gives no burst away', async () => {
  const limit = new ChangingLimit(640 * KiB);
  const lane = limit.lane();
  expect(lane.take(64 * KiB)).toBeUndefined();
  limit.set(640 * KiB);
  expect(lane.take(64 * KiB)).toBeInstanceOf(Promise);
});
