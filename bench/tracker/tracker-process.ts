// A real tracker in a process of its own, started through the command line, and what the system says it has used.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSeconds, statusBytes } from '../rig/proc.ts';
import { SHOAL } from '../rig/shoal-program.ts';

const GC_ON_SIGNAL = join(import.meta.dirname, 'gc-on-signal.ts');
const COLLECTED_AFTER_MS = 1_500;

export class TrackerProcess {
  readonly url: URL;
  readonly joinToken: string;
  readonly #child: ChildProcess;
  readonly #dataDir: string;

  private constructor(child: ChildProcess, dataDir: string, ready: { url: string; joinToken: string }) {
    this.#child = child;
    this.#dataDir = dataDir;
    this.url = new URL(ready.url);
    this.joinToken = ready.joinToken;
  }

  static async start(nodeArguments: readonly string[] = []): Promise<TrackerProcess> {
    const dataDir = await mkdtemp(join(tmpdir(), 'shoal-bench-tracker-'));
    const node = ['--expose-gc', '--import', GC_ON_SIGNAL, ...nodeArguments];
    const flags = ['tracker', '--listen', '127.0.0.1:0', '--data', dataDir, '--log-level', 'warn'];
    const child = spawn(process.execPath, [...node, SHOAL, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: child.stdout! })) {
      const { url, joinTokenFile } = JSON.parse(line) as { url: string; joinTokenFile: string };
      return new TrackerProcess(child, dataDir, { url, joinToken: (await readFile(joinTokenFile, 'utf8')).trim() });
    }
    throw new Error('the tracker did not start');
  }

  /** User and system time so far. */
  cpuSeconds(): Promise<number> {
    return cpuSeconds(this.#child.pid!);
  }

  /** Resident memory after a full collection. */
  async collectedRssBytes(): Promise<number> {
    for (let turn = 0; turn < 2; turn++) {
      this.#child.kill('SIGUSR2');
      await sleep(COLLECTED_AFTER_MS);
    }
    return await statusBytes(this.#child.pid, 'VmRSS');
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await exited;
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}
