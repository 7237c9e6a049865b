import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
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

const CASES = [
  { blobs: 0, readyWithinMs: 1_000 },
  { blobs: 10_000, readyWithinMs: 2_000 },
];

/** What an agent needs in the best of its starts, and of its times of idling. */
interface Best {
  readyMs: number;
  rssBytes: number;
  corePercent: number;
}

/** By the number of blobs. */
const best = new Map<number, Best>();

const isWell = ({ blobs, readyWithinMs }: (typeof CASES)[number]): boolean => {
  const { readyMs, rssBytes, corePercent } = best.get(blobs)!;
  return readyMs < readyWithinMs && rssBytes < MOST_RSS_BYTES && corePercent < MOST_CORE_PERCENT;
};

async function measure(blobs: readonly number[]): Promise<void> {
  const flags = ['--blobs', blobs.join(), '--starts', `${STARTS}`, '--idle', `${IDLE_SECONDS}`, '--json'];
  const printed = await run(process.execPath, [MAIN, 'start', ...flags], { timeoutMs: TRY_TIMEOUT_MS });
  const readings = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as StartReading);
  expect(readings).toMatchObject(blobs.map((held) => ({ blobs: held, held, members: 4 })));
  for (const reading of readings) note(reading);
}

function note({ blobs, readyMs, waitedMs, idle: { rssBytes, corePercent } }: StartReading): void {
  expect(readyMs).toHaveLength(STARTS);
  const ownMs = readyMs.map((ms, start) => ms - (waitedMs[start] ?? 0));
  const before = best.get(blobs);
  best.set(blobs, {
    readyMs: Math.min(...ownMs, before?.readyMs ?? Infinity),
    rssBytes: Math.min(rssBytes, before?.rssBytes ?? Infinity),
    corePercent: Math.min(corePercent, before?.corePercent ?? Infinity),
  });
}

// The agents start one after the other and idle at the same time; what missed a bound is tried again.
beforeAll(async () => {
  await measure(CASES.map(({ blobs }) => blobs));
  for (let tried = 1; tried < TRIES && !CASES.every(isWell); tried++) {
    await measure(CASES.filter((each) => !isWell(each)).map(({ blobs }) => blobs));
  }
}, TRIES * TRY_TIMEOUT_MS);

test.each(CASES)(
  'with $blobs blobs an agent is ready within $readyWithinMs ms, and then takes little of the machine',
  ({ blobs, readyWithinMs }) => {
    const { readyMs, rssBytes, corePercent } = best.get(blobs)!;
    expect(readyMs).toBeLessThan(readyWithinMs);
    expect(rssBytes).toBeLessThan(MOST_RSS_BYTES);
    expect(corePercent).toBeLessThan(MOST_CORE_PERCENT);
  },
);
