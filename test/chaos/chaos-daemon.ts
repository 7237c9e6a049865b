/** An agent or the tracker over several lives: what each life printed, how it ended, and how much memory it took. */
import type { ReadyDaemon } from '../../bench/rig/daemons.ts';
import { peakRssBytes } from '../../bench/rig/proc.ts';

export interface Life {
  readonly log: string;
  /** How the process ended; undefined while it runs. */
  readonly ended: string | undefined;
  /** Whether it ended although nobody had told it to. */
  readonly isCrash: boolean;
  /** Most memory that it took, as far as it was seen. */
  readonly peakRssBytes: number;
}

export class ChaosDaemon<Ready> implements AsyncDisposable {
  readonly #spawn: () => ReadyDaemon<Ready>;
  readonly #lives: { daemon: ReadyDaemon<Ready>; isToldToEnd: boolean; peakRssBytes: number }[] = [];

  constructor(spawn: () => ReadyDaemon<Ready>) {
    this.#spawn = spawn;
  }

  /** @throws with what it printed when it does not get ready in time */
  async start(signal: AbortSignal): Promise<Ready> {
    const daemon = this.#spawn();
    this.#lives.push({ daemon, isToldToEnd: false, peakRssBytes: 0 });
    return await daemon.ready(signal);
  }

  async kill(): Promise<void> {
    await (await this.#tellToEnd()).process.kill();
  }

  /** SIGTERM. @returns how it ended. @throws when it takes longer */
  async drain(timeoutMs: number): Promise<string> {
    const { process: child } = await this.#tellToEnd();
    child.signal('SIGTERM');
    await child.goneWithin(timeoutMs);
    if (child.ended === undefined) throw new Error(`${child.name} does not end within ${timeoutMs} ms\n${child.log}`);
    return child.ended;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#current.daemon.process.signal(signal);
  }

  get lives(): Life[] {
    return this.#lives.map(({ daemon: { process: child }, isToldToEnd, peakRssBytes: peak }) => ({
      log: child.log,
      ended: child.ended,
      isCrash: child.ended !== undefined && !isToldToEnd,
      peakRssBytes: peak,
    }));
  }

  /** Looks at the memory of the process there is. */
  async weigh(): Promise<void> {
    const life = this.#current;
    if (life.daemon.process.ended !== undefined) return;
    const bytes = await peakRssBytes(life.daemon.pid).catch(() => Number.NaN);
    if (bytes > life.peakRssBytes) life.peakRssBytes = bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#lives.length === 0) return;
    this.signal('SIGCONT');
    await (await this.#tellToEnd()).process.stop();
  }

  get #current() {
    const life = this.#lives.at(-1);
    if (life === undefined) throw new Error('it was never started');
    return life;
  }

  async #tellToEnd(): Promise<ReadyDaemon<Ready>> {
    await this.weigh();
    const life = this.#current;
    // What has ended by itself before has crashed.
    if (life.daemon.process.ended === undefined) life.isToldToEnd = true;
    return life.daemon;
  }
}
