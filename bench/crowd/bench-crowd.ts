/**
 * The flash crowd: real agents on as many nodes, and a real tracker, pull one image at the same moment from one origin
 * over links that are slow enough for the CPU not to matter. Told is what the origin had to send and how close the last
 * and the median node came to the least possible time.
 *
 *   sudo pnpm --silent bench crowd [--help]
 */
import { type NodeProgress, ProgressDisplay } from '../../packages/cli/src/demo/progress.ts';
import { WrongUsage } from '../rig/flags.ts';
import { removeLeftovers } from '../rig/leftovers.ts';
import { obstacle } from '../rig/requirements.ts';
import { type CrowdWatcher, runCrowd } from './crowd-run.ts';
import { crowdReport } from './report.ts';
import { CROWD_USAGE, type CrowdSettings, crowdSettings } from './settings.ts';

const WRONG_USAGE = 2;
const FAILED = 1;

class Stopped extends Error {
  readonly exitCode: number;
  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`stopped by ${signal}`);
    this.exitCode = signal === 'SIGINT' ? 130 : 143;
  }
}

export async function benchCrowd(flags: readonly string[]): Promise<void> {
  if (flags.includes('--help')) {
    console.log(CROWD_USAGE);
    return;
  }
  const settings = settingsOf(flags);
  if (settings === undefined) {
    process.exitCode = WRONG_USAGE;
    return;
  }
  const reason = await obstacle(settings.congestionControl);
  if (reason !== undefined) {
    console.error(`bench crowd cannot run here: ${reason}`);
    process.exitCode = WRONG_USAGE;
    return;
  }
  const stopping = new AbortController();
  const stop = (signal: 'SIGINT' | 'SIGTERM'): void => {
    // The second signal waits for nothing: what is left is removed on the way out or by the next run.
    if (stopping.signal.aborted) process.exit(new Stopped(signal).exitCode);
    stopping.abort(new Stopped(signal));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    await removeLeftovers();
    const reading = await runCrowd(settings, new Watcher(), stopping.signal);
    console.log(settings.json ? JSON.stringify(reading) : crowdReport(reading).join('\n'));
    if (reading.failedPulls > 0) process.exitCode = FAILED;
  } catch (error) {
    console.error(`bench crowd: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = stopping.signal.reason instanceof Stopped ? stopping.signal.reason.exitCode : FAILED;
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

function settingsOf(flags: readonly string[]): CrowdSettings | undefined {
  try {
    return crowdSettings(flags);
  } catch (error) {
    if (!(error instanceof WrongUsage)) throw error;
    console.error(`bench crowd: ${error.message}\nbench crowd --help lists the flags`);
    return undefined;
  }
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
