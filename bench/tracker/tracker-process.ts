// A real tracker in a process of its own, started through the command line, and what the system says it has used.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { SHOAL } from '../rig/shoal-program.ts';

const GC_ON_SIGNAL = join(import.meta.dirname, 'gc-on-signal.ts');
/** USER_HZ, the same on every Linux system. */
const TICKS_PER_SECOND = 100;
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
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, 'utf8');
    // The name of the process may hold spaces; the fields after it do not.
    const [userTicks, systemTicks] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return (userTicks! + systemTicks!) / TICKS_PER_SECOND;
  }

  /** Resident memory after a full collection. */
  async collectedRssBytes(): Promise<number> {
    for (let turn = 0; turn < 2; turn++) {
      this.#child.kill('SIGUSR2');
      await sleep(COLLECTED_AFTER_MS);
    }
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await exited;
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}
