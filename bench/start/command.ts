// Prints how long an agent takes to be ready, and its memory and processor time while it idles.
import { parsedFlags, WrongUsage, wholeNumber } from '../rig/flags.ts';
import { measureStarts, median } from './measure-start.ts';

const MiB = 1024 * 1024;
const MAX_BLOBS = 100_000;
const OTHERS = 3;

const USAGE = `usage: bench start [FLAGS]
Prints how long the built command takes from its start to /readyz saying 200, in a cluster with a tracker and ${OTHERS} other
members, how much of that it waited for a processor that others had, the processor time that it took (medians), and then its
resident memory and its processor time while nobody asks it anything.

  --blobs N,…             with so many blobs kept: an agent for each     [0,10000]
  --starts N              so many starts                                 [5]
  --idle SECONDS          how long idling is watched                     [60]
  --json                  a line of JSON for each number of blobs instead of the table`;

export async function benchStart(flags: readonly string[]): Promise<void> {
  const values = parsedFlags(flags, {
    blobs: { type: 'string', default: '0,10000' },
    starts: { type: 'string', default: '5' },
    idle: { type: 'string', default: '60' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const counts = values.blobs.split(',').map(blobCount);
  const starts = wholeNumber('starts', values.starts, 100);
  const idleSeconds = wholeNumber('idle', values.idle, 3600);
  if (!values.json) console.log(' blobs   ready: best   median    worst   waited      CPU   idle: memory   of a core');
  for (const reading of await measureStarts({ blobs: counts, starts, others: OTHERS, idleSeconds })) {
    if (values.json) {
      console.log(JSON.stringify(reading));
      continue;
    }
    const { readyMs, waitedMs, readyCpuMs, idle } = reading;
    const ready = [Math.min(...readyMs), median(readyMs), Math.max(...readyMs), median(waitedMs), median(readyCpuMs)]
      .map(seconds)
      .join('');
    const memory = `${(idle.rssBytes / MiB).toFixed(0)} MiB`.padStart(15);
    console.log(
      `${String(reading.blobs).padStart(6)}      ${ready}${memory}${`${idle.corePercent.toFixed(2)} %`.padStart(12)}`,
    );
  }
}

function blobCount(text: string): number {
  const blobs = Number(text);
  if (text === '' || !Number.isInteger(blobs) || blobs < 0 || blobs > MAX_BLOBS)
    throw new WrongUsage(`--blobs takes numbers from 0 to ${MAX_BLOBS}`);
  return blobs;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`.padStart(9);
}
