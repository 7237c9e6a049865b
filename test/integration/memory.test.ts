import { expect, test } from 'vitest';
import { measurePeerToClient } from '../support/peer-to-client-memory.ts';

const MiB = 1024 * 1024;

test('an agent takes no more memory to pass 2 GiB from a peer to a client than to pass 256 MiB', async () => {
  const small = await measurePeerToClient(256 * MiB);
  const large = await measurePeerToClient(2048 * MiB);
  for (const reading of [small, large]) {
    expect(reading.bytesFromPeers).toBe(reading.blobBytes);
    expect(reading.bytesFromOrigin).toBe(0);
    expect(reading.peakRssBytes).toBeLessThan(250 * MiB);
  }
  // Buffers wait for a collection that V8 starts at about 64 MiB of them: two readings of one size differ by as much.
  expect(large.peakRssBytes).toBeLessThan(small.peakRssBytes + 80 * MiB);
}, 300_000);
