/** Bounds what pieces on their way take in memory, over all pulls: first come, first served. */
export class ByteBudget {
  #freeBytes: number;
  readonly #limitBytes: number;
  readonly #queue: { bytes: number; grant: () => void }[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#freeBytes = limitBytes;
  }

  /**
   * Resolves with the function that gives the bytes back, to be called once. What is larger than the whole budget counts
   * as the whole budget. @throws the signal's reason, when it fires first
   */
  async take(bytes: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const charged = Math.min(bytes, this.#limitBytes);
    if (this.#queue.length > 0 || charged > this.#freeBytes) await this.#wait(charged, signal);
    else this.#freeBytes -= charged;
    return () => {
      this.#freeBytes += charged;
      this.#grantNext();
    };
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = {
        bytes,
        grant: (): void => {
          signal.removeEventListener('abort', onAbort);
          this.#freeBytes -= bytes;
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#queue.splice(this.#queue.indexOf(entry), 1);
        reject(signal.reason);
        this.#grantNext();
      };
      this.#queue.push(entry);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #grantNext(): void {
    for (let next = this.#queue[0]; next !== undefined && next.bytes <= this.#freeBytes; next = this.#queue[0]) {
      this.#queue.shift();
      next.grant();
    }
  }
}
