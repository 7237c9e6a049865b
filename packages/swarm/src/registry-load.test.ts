import { describe, expect, test } from 'vitest';
import { RegistryLoad } from './registry-load.ts';

const KiB = 1024;
const PIECE = 512 * KiB;

/** Readers that tell of their bytes every 100 ms, always as many as may be; returns how many that is in the end. */
function settled(load: RegistryLoad, bytesPerMs: (readers: number) => number, forMs = 30_000): number {
  for (let nowMs = 0; nowMs < forMs; nowMs += 100) {
    const readers = load.most('r', PIECE);
    load.note('r', 100 * bytesPerMs(readers), readers, nowMs);
  }
  return load.most('r', PIECE);
}

describe('how many may read', () => {
  test('few of a registry that nothing is known of, each registry by itself', () => {
    const load = new RegistryLoad();
    expect(load.most('r', PIECE)).toBe(4);
    settled(load, () => 100 * KiB);
    expect(load.most('r', PIECE)).toBeGreaterThan(100);
    expect(load.most('other', PIECE)).toBe(4);
  });

  test('no more than leave a piece within a second where all share one link', () => {
    const slow = settled(new RegistryLoad(), () => 2.5 * KiB);
    expect(slow).toBeGreaterThanOrEqual(4);
    expect(slow).toBeLessThanOrEqual(6);
    expect(settled(new RegistryLoad(), () => 12.5 * KiB)).toBeGreaterThanOrEqual(24);
  });

  test('ever more where each response has a rate of its own, however slow', () => {
    expect(settled(new RegistryLoad(), (readers) => readers * 0.25 * KiB)).toBeGreaterThanOrEqual(16);
  });

  test('what was read before a pause says nothing of the time in it', () => {
    const load = new RegistryLoad();
    const before = settled(load, () => 12.5 * KiB);
    load.note('r', PIECE, 1, 3_600_000);
    load.note('r', PIECE, 1, 3_600_100);
    expect(load.most('r', PIECE)).toBe(before);
  });
});
