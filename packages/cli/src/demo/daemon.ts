/**
 * One child process of a cluster: started, waited for until it says on which ports it listens, watched, stopped. A
 * restart runs the same program again, by default with the arguments that keep its addresses.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How much of what a child said is kept. */
const LOG_LIMIT_CHARACTERS: number = 512 * 1024;
/** How much of that goes into an error. */
const TAIL_LINES = 20;
/** From SIGTERM to SIGKILL. */
const STOP_GRACE_MS = 10_000;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface DaemonOptions<Ready> {
  name: string;
  /** Node's own arguments, the script, and the script's arguments; `last` is what the run before had announced. */
  arguments: (last: Ready | undefined) => readonly string[];
  /** Reads the ready line's fields; throws when one is missing. */
  readReady: (line: Readonly<Record<string, unknown>>) => Ready;
  readyTimeoutMs: number;
  /** Called when the process ends without having been told to. */
  onCrash: (error: DaemonError) => void;
}

export type DaemonErrorCode = 'not-ready' | 'ended-early' | 'crashed';

export class DaemonError extends Error {
  readonly code: DaemonErrorCode;
  constructor(code: DaemonErrorCode, message: string) {
    super(message);
    this.name = 'DaemonError';
    this.code = code;
  }
}

interface Run<Ready> {
  child: ChildProcess;
  ready: Ready;
  exited: Promise<Exit>;
  /** Set before a signal is sent, so that the exit is no crash. */
  told: boolean;
}

export class Daemon<Ready> {
  readonly #options: DaemonOptions<Ready>;
  #log = '';
  #starting: ChildProcess | undefined;
  #run: Run<Ready> | undefined;
  #lastReady: Ready | undefined;

  constructor(options: DaemonOptions<Ready>) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** What the running process announced; of the last run while there is none. @throws before the first start */
  get ready(): Ready {
    if (this.#lastReady === undefined) throw new DaemonError('not-ready', `${this.name} was never started`);
    return this.#lastReady;
  }

  get pid(): number | undefined {
    return this.#run?.child.pid;
  }

  /** The last half million characters of standard error and output, over all runs. */
  logs(): string {
    return this.#log;
  }

  /** @throws DaemonError with the end of the log when no ready line came in time; the process is then dead. */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    // A process group of its own: Ctrl-C reaches the parent alone, which stops its children in order.
    const child = spawn(process.execPath, this.#options.arguments(this.#lastReady), {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#starting = child;
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, exitSignal) => resolve({ code, signal: exitSignal }));
      child.once('error', (error) => {
        this.#note(`${error.message}\n`);
        resolve({ code: 1, signal: null });
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.#note(text));
    child.stdin.on('error', () => {});
    try {
      const ready = await this.#awaitReady(child, exited, signal);
      const run: Run<Ready> = { child, ready, exited, told: false };
      this.#run = run;
      this.#lastReady = ready;
      void exited.then((exit) => this.#ended(run, exit));
    } catch (error) {
      child.kill('SIGKILL');
      await exited;
      throw error;
    } finally {
      this.#starting = undefined;
    }
  }

  /** Sends the signal and waits for the end; does nothing when the process is gone already. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    run.told = true;
    run.child.kill(signal);
    await run.exited;
  }

  /** SIGTERM, and SIGKILL for a process that takes too long. */
  async stop(): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    const impatient = setTimeout(() => run.child.kill('SIGKILL'), STOP_GRACE_MS);
    try {
      await this.kill('SIGTERM');
    } finally {
      clearTimeout(impatient);
    }
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Without waiting: for the moment before this process itself ends. */
  killNow(): void {
    this.#starting?.kill('SIGKILL');
    if (this.#run === undefined) return;
    this.#run.told = true;
    this.#run.child.kill('SIGKILL');
  }

  async #awaitReady(child: ChildProcess, exited: Promise<Exit>, signal: AbortSignal | undefined): Promise<Ready> {
    const { readReady, readyTimeoutMs } = this.#options;
    return await new Promise<Ready>((resolve, reject) => {
      const fail = (code: DaemonErrorCode, what: string): void =>
        reject(new DaemonError(code, `${this.name} ${what}${this.#tail()}`));
      const deadline = setTimeout(
        () => fail('not-ready', `was not ready in ${readyTimeoutMs / 1000} s`),
        readyTimeoutMs,
      );
      const abort = (): void => reject(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      void exited.then((exit) => fail('ended-early', `ended before it was ready (${describe(exit)})`));
      // The reader stays for the whole run: a full pipe would stop the child.
      if (child.stdout === null) return;
      const settle = (): void => {
        clearTimeout(deadline);
        signal?.removeEventListener('abort', abort);
      };
      void exited.then(settle);
      createInterface({ input: child.stdout }).on('line', (text) => {
        const line = parseObject(text);
        if (line?.event !== 'ready') {
          this.#note(`${text}\n`);
          return;
        }
        settle();
        try {
          resolve(readReady(line));
        } catch (error) {
          fail('not-ready', `printed a ready line that cannot be used (${String(error)}): ${text}`);
        }
      });
    });
  }

  #ended(run: Run<Ready>, exit: Exit): void {
    if (this.#run === run) this.#run = undefined;
    if (run.told) return;
    this.#options.onCrash(
      new DaemonError('crashed', `${this.name} ended unexpectedly (${describe(exit)})${this.#tail()}`),
    );
  }

  #note(text: string): void {
    this.#log = (this.#log + text).slice(-LOG_LIMIT_CHARACTERS);
  }

  #tail(): string {
    const lines = this.#log.trimEnd().split('\n').slice(-TAIL_LINES);
    return lines.join('') === '' ? '' : `; it last said:\n  ${lines.join('\n  ')}`;
  }
}

function describe(exit: Exit): string {
  return exit.signal === null ? `exit code ${exit.code}` : exit.signal;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
