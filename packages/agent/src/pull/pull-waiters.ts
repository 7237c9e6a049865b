/** Somebody who was given bytes of pieces before the whole blob was known to be right. */
export interface PieceTaker {
  /** Whether it was given bytes of this piece. */
  has(index: number): boolean;
  /** These pieces turned out to be wrong. */
  lose(indexes: readonly number[]): void;
}

const TOOK_NOTHING: PieceTaker = { has: () => false, lose: () => {} };

/** Those who read a blob while it comes in: woken when something changed, told when pieces are taken back. */
export class PullWaiters {
  readonly #readers = new Map<number, PieceTaker>();
  readonly #waiting = new Set<() => void>();
  #lastReader = 0;

  /** Returns the reader's number. */
  add(taker = TOOK_NOTHING): number {
    const reader = ++this.#lastReader;
    this.#readers.set(reader, taker);
    return reader;
  }

  delete(reader: number): void {
    this.#readers.delete(reader);
  }

  lose(indexes: readonly number[]): void {
    for (const taker of this.#readers.values()) taker.lose(indexes);
  }

  /** Whether somebody who still reads was given bytes of this piece. */
  gaveOut(index: number): boolean {
    for (const taker of this.#readers.values()) if (taker.has(index)) return true;
    return false;
  }

  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves at the next `wake`, or when the signal fires. */
  nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
