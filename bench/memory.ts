// Prints the peak memory of an agent that passes blobs of growing size from a peer to a client.
import { measurePeerToClient } from '../test/support/peer-to-client-memory.ts';

const MiB = 1024 * 1024;
const mib = (bytes: number): string => `${(bytes / MiB).toFixed(0)} MiB`.padStart(9);

/** @param json one JSON line per size instead of the table */
export async function benchMemory(json: boolean): Promise<void> {
  if (!json) console.log('     blob      idle      peak   rate');
  for (const size of [64 * MiB, 256 * MiB, 1024 * MiB, 2048 * MiB]) {
    const reading = await measurePeerToClient(size);
    if (json) {
      console.log(JSON.stringify(reading));
    } else {
      const rate = `${(reading.blobBytes / MiB / reading.seconds).toFixed(0)} MiB/s`;
      console.log(`${mib(reading.blobBytes)} ${mib(reading.idleRssBytes)} ${mib(reading.peakRssBytes)}   ${rate}`);
    }
  }
}
