/**
 * What changed and is not on the shelf yet. Keys are noted as often as they change; what they stand for is read when it is
 * written, so many changes are one write, and one write is under way at a time.
 */
import type { Logger } from 'pino';
import type { Shelf } from '../state/shelf.ts';
import { NotLeadingError } from './redis-shelf.ts';

/** What nobody waits for is written after this. */
const SOON_MS = 50;
/** And what may be lost, as it is told again, after this. */
const LATER_MS = 2_000;

export interface JournalDependencies {
  shelf: Pick<Shelf, 'write'>;
  /** Undefined: it is not there any more. */
  currentValue: (key: string) => unknown;
  logger: Logger;
}

export class Journal {
  readonly #dependencies: JournalDependencies;
  #noted = new Set<string>();
  #later = new Set<string>();
  #soonTimer: NodeJS.Timeout | undefined;
  #laterTimer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #queued: Promise<void> | undefined;

  constructor(dependencies: JournalDependencies) {
    this.#dependencies = dependencies;
  }

  note(key: string): void {
    this.#noted.add(key);
    this.#soonTimer ??= setTimeout(() => this.#writeBehind(), SOON_MS).unref();
  }

  noteLater(key: string): void {
    this.#later.add(key);
    this.#laterTimer ??= setTimeout(() => {
      this.#laterTimer = undefined;
      for (const each of this.#later) this.note(each);
      this.#later.clear();
    }, LATER_MS).unref();
  }

  /** Resolves when all that was noted is kept. @throws NotLeadingError, or Error when the store does not answer */
  commit(): Promise<void> {
    if (this.#noted.size === 0) return this.#writing;
    this.#queued ??= this.#writeAfter(this.#writing);
    return this.#queued;
  }

  /** Writes what there is, if it can. */
  async close(): Promise<void> {
    clearTimeout(this.#laterTimer);
    for (const each of this.#later) this.#noted.add(each);
    await this.commit().catch(() => undefined);
    clearTimeout(this.#soonTimer);
  }

  async #writeAfter(before: Promise<void>): Promise<void> {
    await before.catch(() => undefined);
    this.#queued = undefined;
    const writing = this.#write();
    writing.catch(() => undefined);
    this.#writing = writing;
    return writing;
  }

  async #write(): Promise<void> {
    const keys = this.#noted;
    this.#noted = new Set();
    if (keys.size === 0) return;
    const values = new Map([...keys].map((key) => [key, this.#dependencies.currentValue(key)]));
    try {
      await this.#dependencies.shelf.write(values);
    } catch (error) {
      for (const key of keys) this.#noted.add(key);
      throw error;
    }
  }

  #writeBehind(): void {
    this.#soonTimer = undefined;
    this.commit().catch((error: unknown) => {
      if (error instanceof NotLeadingError) return;
      this.#dependencies.logger.warn({ err: error }, 'changes are not in the store yet');
      this.#soonTimer ??= setTimeout(() => this.#writeBehind(), LATER_MS).unref();
    });
  }
}
