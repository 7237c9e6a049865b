// Prints the peak memory of an agent that passes blobs of growing size from a peer to a client.
import { parsedFlags, size } from '../rig/flags.ts';
import { measurePeerToClient } from './peer-to-client.ts';

const MiB = 1024 * 1024;
const SIZES = '64MiB,256MiB,1GiB,2GiB';
const mib = (bytes: number): string => `${(bytes / MiB).toFixed(0)} MiB`.padStart(9);

const USAGE = `usage: bench memory [FLAGS]
Prints the peak memory of an agent that passes blobs from a peer to a client.

  --blob SIZE,…           of these sizes, one after the other       [${SIZES}]
  --json                  a line of JSON for each size instead of the table`;

export async function benchMemory(flags: readonly string[]): Promise<void> {
  const values = parsedFlags(flags, {
    blob: { type: 'string', default: SIZES },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const sizes = values.blob.split(',').map((text) => size('blob', text));
  if (!values.json) console.log('     blob      idle      peak   rate');
  for (const bytes of sizes) {
    const reading = await measurePeerToClient(bytes);
    if (values.json) {
      console.log(JSON.stringify(reading));
    } else {
      const rate = `${(reading.blobBytes / MiB / reading.seconds).toFixed(0)} MiB/s`;
      console.log(`${mib(reading.blobBytes)} ${mib(reading.idleRssBytes)} ${mib(reading.peakRssBytes)}   ${rate}`);
    }
  }
}
