/**
 * `bench rollout`: one image onto N nodes, in several ways, with real containerds behind shaped links. Told is what each way
 * asks of the registry, how long the last node waits, and how far that is from the least possible time.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type NodeProgress, ProgressDisplay } from '../../packages/cli/src/demo/progress.ts';
import { findProgram } from '../../test/support/daemon/programs.ts';
import { rolloutCharts } from '../report/charts.ts';
import { rolloutPage } from '../report/page.ts';
import { removeLeftovers } from '../rig/leftovers.ts';
import { obstacle } from '../rig/requirements.ts';
import { stoppable } from '../rig/stoppable.ts';
import type { ContenderReading } from './reading.ts';
import { type RolloutReading, type RolloutWatcher, runRollout } from './rollout.ts';
import { rolloutSettings, rolloutUsage } from './settings.ts';
import { contenderLine, rolloutTable } from './table.ts';

const WRONG_USAGE = 2;
const FAILED = 1;

export async function benchRollout(flags: readonly string[]): Promise<void> {
  if (flags.includes('--help')) {
    console.log(await rolloutUsage());
    return;
  }
  const settings = await rolloutSettings(flags);
  const reason = await whyNot();
  if (reason !== undefined) {
    console.error(`bench rollout: it cannot run here: ${reason}`);
    process.exitCode = WRONG_USAGE;
    return;
  }
  await stoppable('rollout', async (signal) => {
    await removeLeftovers();
    const reading = await runRollout(settings, new Watcher(), signal);
    console.log(rolloutTable(reading).join('\n'));
    if (settings.jsonFile !== undefined)
      await writeFile(settings.jsonFile, `${JSON.stringify(reading, undefined, 1)}\n`);
    if (settings.htmlFile !== undefined) await writeFile(settings.htmlFile, rolloutPage(reading));
    if (settings.svgFolder !== undefined) await writeCharts(settings.svgFolder, reading);
    if (reading.results.some(({ failedPulls, broken }) => failedPulls > 0 || broken !== undefined)) {
      process.exitCode = FAILED;
    }
  });
}

async function writeCharts(folder: string, reading: RolloutReading): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const { name, svg } of rolloutCharts(reading)) await writeFile(join(folder, `${name}.svg`), `${svg}\n`);
}

/** Why it cannot run here and what to do, in one line; undefined when it can. */
async function whyNot(): Promise<string | undefined> {
  const missing = (['containerd', 'docker-registry'] as const).find((program) => findProgram(program) === undefined);
  const reason = (await obstacle('cubic')) ?? (missing && `${missing} is not installed`);
  return (
    reason && `${reason}. Without root, \`pnpm demo\` runs agents on loopback, with unshaped links and no containerd`
  );
}

/** Tells on standard error; results alone go to standard output. */
class Watcher implements RolloutWatcher {
  step(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  pulling(read: () => readonly number[], newBytes: number, ended: Promise<unknown>): void {
    if (!process.stderr.isTTY) return;
    const lines = (): NodeProgress[] =>
      read().map((bytes, index) => ({
        node: `node-${index + 1}`,
        receivedBytes: Math.min(bytes, newBytes),
        totalBytes: newBytes,
        state: 'pulling',
      }));
    const display = new ProgressDisplay(process.stderr, lines);
    const finish = (): void => display.finish();
    ended.then(finish, finish);
  }

  done(reading: ContenderReading): void {
    process.stderr.write(`  ${contenderLine(reading)}\n`);
  }
}
