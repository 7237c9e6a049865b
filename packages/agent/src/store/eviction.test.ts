import { describe, expect, test } from 'vitest';
import { chooseVictims, needFor } from './eviction.ts';

const base = { usedBytes: 0, addBytes: 0, quotaBytes: 1000, highWater: 1, lowWater: 0.9, pinnedBytes: 0 };

describe('needFor', () => {
  test('asks for nothing up to the high water mark', () => {
    expect(needFor({ ...base, usedBytes: 900, addBytes: 100 }).targetBytes).toBe(0);
  });

  test('goes on down to the low water mark once above the high one', () => {
    expect(needFor({ ...base, usedBytes: 950, addBytes: 100 })).toEqual({
      quotaBytes: 50,
      diskBytes: 0,
      targetBytes: 150,
    });
  });

  test('goes down to the same share of what is not pinned', () => {
    const need = needFor({ ...base, usedBytes: 1000, addBytes: 10, pinnedBytes: 600, lowWater: 0.5 });
    expect(need).toEqual({ quotaBytes: 10, diskBytes: 0, targetBytes: 210 });
  });

  test('counts what is promised but not written against the free disk', () => {
    const disk = { freeBytes: 500, floorBytes: 300, unwrittenBytes: 150 };
    expect(needFor({ ...base, addBytes: 100, disk })).toEqual({ quotaBytes: 0, diskBytes: 50, targetBytes: 50 });
  });
});

describe('chooseVictims', () => {
  const candidates = [{ bytes: 10 }, { bytes: 20 }, { bytes: 30 }];

  test('takes the first ones until the target is reached', () => {
    expect(chooseVictims(candidates, { quotaBytes: 5, diskBytes: 0, targetBytes: 25 })).toEqual(candidates.slice(0, 2));
  });

  test('settles for less than the target when the newcomer fits', () => {
    expect(chooseVictims(candidates, { quotaBytes: 55, diskBytes: 0, targetBytes: 500 })).toEqual(candidates);
  });

  test('takes nothing when even all of them are too few', () => {
    expect(chooseVictims(candidates, { quotaBytes: 61, diskBytes: 0, targetBytes: 61 })).toBeUndefined();
    expect(chooseVictims(candidates, { quotaBytes: 0, diskBytes: 61, targetBytes: 61 })).toBeUndefined();
  });

  test('takes nothing when nothing is needed', () => {
    expect(chooseVictims(candidates, { quotaBytes: 0, diskBytes: 0, targetBytes: 0 })).toEqual([]);
  });
});
