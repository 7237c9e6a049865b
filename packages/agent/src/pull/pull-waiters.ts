/** Those who read a blob while it comes in: woken when something changed, told when pieces are taken back. */
export class PullWaiters {
  /** Reader → whom to tell of pieces that it may have been given and that turned out to be wrong. */
  readonly #readers = new Map<number, (indexes: readonly number[]) => void>();
  readonly #waiting = new Set<() => void>();
  #lastReader = 0;

  /** Returns the reader's number. */
  add(onLost: (indexes: readonly number[]) => void): number {
    const reader = ++this.#lastReader;
    this.#readers.set(reader, onLost);
    return reader;
  }

  delete(reader: number): void {
    this.#readers.delete(reader);
  }

  lose(indexes: readonly number[]): void {
    for (const onLost of this.#readers.values()) onLost(indexes);
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
