import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { MemoryReading } from '../../bench/memory/peer-to-client.ts';
import { run } from '../support/daemon/process.ts';

const MAIN = join(import.meta.dirname, '../../bench/main.ts');
const MiB = 1024 * 1024;
const TIMEOUT_MS = 300_000;

test(
  'an agent takes no more memory to pass 2 GiB from a peer to a client than to pass 256 MiB',
  async () => {
    const printed = await run(process.execPath, [MAIN, 'memory', '--blob', '256MiB,2GiB', '--json'], {
      timeoutMs: TIMEOUT_MS,
    });
    const readings = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as MemoryReading);
    expect(readings.map(({ blobBytes }) => blobBytes)).toEqual([256 * MiB, 2048 * MiB]);
    for (const reading of readings) {
      expect(reading.bytesFromPeers).toBe(reading.blobBytes);
      expect(reading.bytesFromOrigin).toBe(0);
      expect(reading.peakRssBytes).toBeLessThan(250 * MiB);
    }
    const [small, large] = readings as [MemoryReading, MemoryReading];
    // Buffers wait for a collection that V8 starts at about 64 MiB of them: two readings of one size differ by as much.
    expect(large.peakRssBytes).toBeLessThan(small.peakRssBytes + 80 * MiB);
  },
  TIMEOUT_MS,
);
