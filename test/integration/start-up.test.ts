import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { StartReading } from '../../bench/start/measure-start.ts';
import { run } from '../support/daemon/process.ts';

const MAIN = join(import.meta.dirname, '../../bench/main.ts');
const MiB = 1024 * 1024;
const MOST_RSS_BYTES = 130 * MiB;
const MOST_CORE_PERCENT = 0.5;
const IDLE_SECONDS = 30;
const STARTS = 4;
/**
 * Other work on the machine makes an agent slower and never quicker: time in which others had the processors is not counted, and the
 * best that was seen is the agent's own.
 */
const TRIES = 3;
const TRY_TIMEOUT_MS = 200_000;

/** What an agent needs in the best of its starts, and of its times of idling. */
interface Best {
  readyMs: number;
  rssBytes: number;
  corePercent: number;
}

async function measure(blobs: number): Promise<Best> {
  const flags = ['--blobs', `${blobs}`, '--starts', `${STARTS}`, '--idle', `${IDLE_SECONDS}`, '--json'];
  const printed = await run(process.execPath, [MAIN, 'start', ...flags], { timeoutMs: TRY_TIMEOUT_MS });
  const reading = JSON.parse(printed) as StartReading;
  expect(reading).toMatchObject({ blobs, held: blobs, members: 4 });
  expect(reading.readyMs).toHaveLength(STARTS);
  const ownMs = reading.readyMs.map((readyMs, start) => readyMs - (reading.waitedMs[start] ?? 0));
  const { rssBytes, corePercent } = reading.idle;
  return { readyMs: Math.min(...ownMs), rssBytes, corePercent };
}

test.each([
  { blobs: 0, readyWithinMs: 1_000 },
  { blobs: 10_000, readyWithinMs: 2_000 },
])(
  'with $blobs blobs an agent is ready within $readyWithinMs ms, and then takes little of the machine',
  async ({ blobs, readyWithinMs }) => {
    let best = await measure(blobs);
    const isWell = (): boolean =>
      best.readyMs < readyWithinMs && best.rssBytes < MOST_RSS_BYTES && best.corePercent < MOST_CORE_PERCENT;
    for (let tried = 1; tried < TRIES && !isWell(); tried++) {
      const next = await measure(blobs);
      best = {
        readyMs: Math.min(best.readyMs, next.readyMs),
        rssBytes: Math.min(best.rssBytes, next.rssBytes),
        corePercent: Math.min(best.corePercent, next.corePercent),
      };
    }
    expect(best.readyMs).toBeLessThan(readyWithinMs);
    expect(best.rssBytes).toBeLessThan(MOST_RSS_BYTES);
    expect(best.corePercent).toBeLessThan(MOST_CORE_PERCENT);
  },
  TRIES * TRY_TIMEOUT_MS,
);
