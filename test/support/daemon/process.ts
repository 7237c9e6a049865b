import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { daemonEnvironment } from './programs.ts';

// Programs under test: daemons that run until they are stopped, and commands that run once. Both have deadlines, both
// keep what they printed, and nothing is ever stopped but by its own process id.

/** Of util-linux. */
const setpriv = '/usr/bin/setpriv';
const defaultReadyTimeoutMs = 60_000;
const defaultCommandTimeoutMs = 90_000;
const termGraceMs = 8_000;
const killGraceMs = 5_000;
const readyPollMs = 25;
const keptLines = 2_000;
const maxOutputBytes = 32 * 1024 * 1024;

export interface DaemonOptions {
  /** Named in errors. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Called for every line of either stream as it comes. */
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void;
}

/** A program that runs until it is stopped. */
export class DaemonProcess implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #exited: Promise<void>;
  #ended: string | undefined;

  constructor(options: DaemonOptions) {
    this.name = options.name;
    const [program, args] = leashed(options.program, options.args);
    this.#child = spawn(program, args, {
      env: daemonEnvironment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#ended = error.message;
        resolve();
      });
      this.#child.once('exit', (code, signal) => {
        this.#ended = signal === null ? `exit code ${code}` : `signal ${signal}`;
        resolve();
      });
    });
    for (const stream of ['stdout', 'stderr'] as const) {
      createInterface({ input: this.#child[stream] as Readable }).on('line', (line) => {
        this.#lines.push(line);
        if (this.#lines.length > keptLines) this.#lines.shift();
        options.onLine?.(line, stream);
      });
    }
  }

  /** The process id; 0 when the program could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** How the process ended, while it runs undefined. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** The last lines it printed, on both streams. */
  get log(): string {
    return this.#lines.join('\n');
  }

  /** Waits until `probe` answers other than undefined or false. Fails at once when the process ends, and at the deadline. */
  async ready<T>(
    probe: () => Promise<T | undefined | false> | T | undefined | false,
    timeoutMs = defaultReadyTimeoutMs,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    let lastFailure = '';
    for (;;) {
      if (this.#ended !== undefined)
        throw new Error(`${this.name} ended (${this.#ended}) before it was ready\n${this.log}`);
      try {
        const answer = await probe();
        if (answer !== undefined && answer !== false) return answer;
      } catch (error) {
        lastFailure = String(error);
      }
      if (performance.now() > deadline) {
        throw new Error(`${this.name} was not ready within ${timeoutMs} ms. ${lastFailure}\n${this.log}`);
      }
      await sleep(readyPollMs);
    }
  }

  /** Waits for its end, and tells whether it came in that time. */
  async goneWithin(timeoutMs: number): Promise<boolean> {
    if (this.#ended !== undefined) return true;
    const timer = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([this.#exited, late]);
    timer.abort();
    return this.#ended !== undefined;
  }

  /** To its process, unless that has ended. */
  signal(signal: NodeJS.Signals): void {
    if (this.#ended === undefined) this.#child.kill(signal);
  }

  /** Ends it with SIGTERM, then SIGKILL. Resolves once it is gone. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    if (await this.goneWithin(termGraceMs)) return;
    await this.kill();
  }

  /** Asks it to read its configuration again. */
  reload(): void {
    this.signal('SIGHUP');
  }

  /** Ends it with SIGKILL. Resolves once it is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    if (!(await this.goneWithin(killGraceMs))) throw new Error(`${this.name} (${this.pid}) survives SIGKILL`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Has the kernel end the program, with SIGTERM, when the process that started it is gone, however that went. */
function leashed(program: string, args: readonly string[]): [string, readonly string[]] {
  return existsSync(setpriv) ? [setpriv, ['--pdeathsig', 'TERM', program, ...args]] : [program, args];
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

export interface CommandResult {
  /** The exit code; -1 when it was ended by a signal or by its deadline. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and reports how it went, whatever the exit code. */
export function attempt(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const settings = {
      env: daemonEnvironment(options.env),
      timeout: options.timeoutMs ?? defaultCommandTimeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: maxOutputBytes,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    } as const;
    execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else resolve({ code: -1, stdout, stderr: `${stderr}${error.message}` });
    });
  });
}

/** Runs a program to its end and gives its stdout; throws with all it printed unless it exits with 0. */
export async function run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${code}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Whether there is such a process, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user's answers EPERM.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
