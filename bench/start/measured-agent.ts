// One agent as its node runs it, the built command, and what the kernel says of its process. Linux only (/proc).
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { request } from 'undici';
import { statusBytes } from '../rig/proc.ts';
import { SHOAL } from '../rig/shoal-program.ts';

const READY_WITHIN_MS = 120_000;
const ASK_TIMEOUT_MS = 5_000;
const STOPS_WITHIN_MS = 15_000;
const ANY_PORT = '127.0.0.1:0';

type ReadyTimes = Pick<MeasuredAgent, 'readyMs' | 'waitedMs' | 'readyCpuMs'>;

export class MeasuredAgent implements AsyncDisposable {
  /** From before the process was made to the answer 200 of /readyz. */
  readonly readyMs: number;
  /** Of that, how long its main thread could have run and had to wait, because others had the processors. */
  readonly waitedMs: number;
  /** The processors' time that it took until then, all its threads together. */
  readonly readyCpuMs: number;
  readonly #adminUrl: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, adminUrl: string, ready: ReadyTimes) {
    this.#child = child;
    this.#adminUrl = adminUrl;
    this.readyMs = ready.readyMs;
    this.waitedMs = ready.waitedMs;
    this.readyCpuMs = ready.readyCpuMs;
  }

  /** @throws Error when it ends first, or is not ready in two minutes */
  static async start(dataFolder: string, more: readonly string[]): Promise<MeasuredAgent> {
    const ports = ['--mirror', ANY_PORT, '--admin', ANY_PORT, '--peer-listen', '/ip4/127.0.0.1/tcp/0'];
    const args = [SHOAL, 'agent', '--data', dataFolder, ...ports, ...more];
    const startedAtMs = performance.now();
    // Nodes have no compiled code from a run before.
    const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' };
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const adminUrl = await adminUrlOf(child);
      const { statusCode, body } = await request(new URL('/readyz', adminUrl), {
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
      });
      const readyMs = performance.now() - startedAtMs;
      const waitedMs = await waitedMsOf(child);
      const readyCpuMs = 1000 * (await cpuSecondsOf(child));
      await body.dump();
      if (statusCode !== 200) throw new Error(`/readyz is ${statusCode} although the agent says that it is ready`);
      return new MeasuredAgent(child, adminUrl, { readyMs, waitedMs, readyCpuMs });
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** What it says of itself. */
  async standing(): Promise<{ held: number; members: number }> {
    const { body } = await request(new URL('/v1/status', this.#adminUrl), {
      signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
    });
    const { cache, members } = (await body.json()) as { cache: { blobs: number }; members: number };
    return { held: cache.blobs, members };
  }

  /** Resident memory now. */
  rssBytes(): Promise<number> {
    return statusBytes(this.#child.pid, 'VmRSS');
  }

  /** What it has used of the processors since its start, all its threads together. */
  cpuSeconds(): Promise<number> {
    return cpuSecondsOf(this.#child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOPS_WITHIN_MS);
    await exited;
    clearTimeout(timer);
  }
}

async function adminUrlOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('the agent has no stdout');
  const timer = setTimeout(() => child.kill('SIGKILL'), READY_WITHIN_MS);
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const { event, admin } = JSON.parse(line) as { event?: string; admin?: string };
      if (event === 'ready' && admin !== undefined) return admin;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error('the agent ended before it was ready');
}

/**
 * From the scheduler's own count (https://docs.kernel.org/scheduler/sched-stats.html: nanoseconds on a processor, nanoseconds waiting
 * for one, turns), for /proc/PID/stat only has whole ticks of who was seen running: an idle agent's work is shorter.
 */
async function cpuSecondsOf({ pid }: ChildProcess): Promise<number> {
  let ranNs = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    ranNs += (await schedulerCount(`/proc/${pid}/task/${thread}/schedstat`)).ranNs;
  }
  return ranNs / 1e9;
}

/** Of the main thread. */
async function waitedMsOf({ pid }: ChildProcess): Promise<number> {
  return (await schedulerCount(`/proc/${pid}/schedstat`)).waitedNs / 1e6;
}

async function schedulerCount(path: string): Promise<{ ranNs: number; waitedNs: number }> {
  const [ranNs = Number.NaN, waitedNs = Number.NaN] = (await readFile(path, 'utf8')).split(' ').map(Number);
  return { ranNs, waitedNs };
}
