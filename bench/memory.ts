// Prints the peak memory of an agent that passes blobs of growing size from a peer to a client.
import { parseArgs } from 'node:util';
import { measurePeerToClient } from '../test/support/peer-to-client-memory.ts';

const MiB = 1024 * 1024;
const mib = (bytes: number): string => `${(bytes / MiB).toFixed(0)} MiB`.padStart(9);

const USAGE = `usage: bench memory [--json]
Prints the peak memory of an agent that passes blobs of 64 MiB to 2 GiB from a peer to a client.

  --json                  a line of JSON for each size instead of the table`;

export async function benchMemory(flags: readonly string[]): Promise<void> {
  const options = { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } as const;
  const { json, help } = parseArgs({ args: [...flags], options }).values;
  if (help) {
    console.log(USAGE);
    return;
  }
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
