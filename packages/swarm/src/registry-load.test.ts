import { describe, expect, test } from 'vitest';
import { seededRandom } from './random.ts';
import { RegistryLoad } from './registry-load.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const PIECE = 512 * KiB;

/** Readers that tell of their bytes every 100 ms, always as many as may be; returns how many that is in the end. */
function settled(load: RegistryLoad, bytesPerMs: (readers: number) => number, pieceBytes = PIECE): number {
  for (let nowMs = 0; nowMs < 600_000; nowMs += 100)
    load.note('r', 100 * bytesPerMs(load.most('r', pieceBytes)), nowMs);
  return load.most('r', pieceBytes);
}

describe('how many may read', () => {
  test('few of a registry that nothing is known of, each registry by itself', () => {
    const load = new RegistryLoad();
    expect(load.most('r', PIECE)).toBe(4);
    settled(load, () => 100 * KiB);
    expect(load.most('r', PIECE)).toBeGreaterThan(100);
    expect(load.most('other', PIECE)).toBe(4);
  });

  test('no more than leave a piece within a second where all share one link, however unevenly it flows', () => {
    const random = seededRandom(1);
    const slow = settled(new RegistryLoad(), () => 2.5 * KiB * (0.8 + 0.4 * random()));
    expect(slow).toBeGreaterThanOrEqual(4);
    expect(slow).toBeLessThanOrEqual(6);
    expect(settled(new RegistryLoad(), () => 12.5 * KiB)).toBeGreaterThanOrEqual(24);
  });

  test('ever more where each response has a rate of its own, of a megabyte per second with the largest pieces', () => {
    expect(settled(new RegistryLoad(), (readers) => Math.min(64, readers) * 1.1 * KiB, 4 * MiB)).toBeGreaterThan(32);
    expect(settled(new RegistryLoad(), (readers) => Math.min(64, readers) * 0.7 * KiB)).toBeGreaterThan(32);
  });

  test('fewer again when the registry becomes slow', () => {
    const load = new RegistryLoad();
    settled(load, () => 100 * KiB);
    for (let nowMs = 600_000; nowMs < 720_000; nowMs += 100) load.note('r', 250 * KiB, nowMs);
    expect(load.most('r', PIECE)).toBeLessThanOrEqual(6);
  });

  test('what was read before a pause says nothing of the time in it', () => {
    const load = new RegistryLoad();
    const before = settled(load, () => 12.5 * KiB);
    load.note('r', PIECE, 3_600_000);
    load.note('r', PIECE, 3_600_100);
    expect(load.most('r', PIECE)).toBe(before);
  });
});
