/**
 * The flash crowd: real agents on as many nodes, and a real tracker, pull one image at the same moment from one origin
 * over links that are slow enough for the CPU not to matter. Told is what the origin had to send and how close the last
 * and the median node came to the least possible time.
 *
 *   sudo pnpm --silent bench crowd [--help]
 */
import { type NodeProgress, ProgressDisplay } from '../../packages/cli/src/demo/progress.ts';
import { removeLeftovers } from '../rig/leftovers.ts';
import { obstacle } from '../rig/requirements.ts';
import { stoppable } from '../rig/stoppable.ts';
import { type CrowdWatcher, runCrowd } from './crowd-run.ts';
import { crowdReport } from './report.ts';
import { CROWD_USAGE, crowdSettings } from './settings.ts';

const WRONG_USAGE = 2;
const FAILED = 1;

export async function benchCrowd(flags: readonly string[]): Promise<void> {
  if (flags.includes('--help')) {
    console.log(CROWD_USAGE);
    return;
  }
  const settings = crowdSettings(flags);
  const reason = await obstacle(settings.congestionControl);
  if (reason !== undefined) {
    console.error(`bench crowd cannot run here: ${reason}`);
    process.exitCode = WRONG_USAGE;
    return;
  }
  await stoppable('crowd', async (signal) => {
    await removeLeftovers();
    const reading = await runCrowd(settings, new Watcher(), signal);
    console.log(settings.json ? JSON.stringify(reading) : crowdReport(reading).join('\n'));
    if (reading.failedPulls > 0) process.exitCode = FAILED;
  });
}

/** Tells a terminal on standard error; results alone go to standard output. */
class Watcher implements CrowdWatcher {
  step(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`${text}\n`);
  }

  pulling(read: () => readonly NodeProgress[], ended: Promise<unknown>): void {
    if (!process.stderr.isTTY) return;
    const display = new ProgressDisplay(process.stderr, read);
    const finish = (): void => display.finish();
    ended.then(finish, finish);
  }
}
