/**
 * Merges simultaneous lookups of the same thing: the first caller starts it, the others wait for the same answer. A
 * caller that goes away leaves the lookup to the rest; when the last one leaves, it is cancelled. Nothing is kept
 * after the answer.
 */
interface Running<T> {
  answer: Promise<T>;
  cancel: AbortController;
  waiting: number;
}

export class SharedLookups<T> {
  readonly #running = new Map<string, Running<T>>();

  /** @throws what `start` throws, or the reason of `signal` */
  async run(key: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const running = this.#running.get(key) ?? this.#begin(key, start);
    running.waiting++;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([running.answer, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      running.waiting--;
      if (running.waiting === 0) {
        this.#forget(key, running);
        running.cancel.abort();
      }
    }
  }

  #begin(key: string, start: (signal: AbortSignal) => Promise<T>): Running<T> {
    const cancel = new AbortController();
    const running: Running<T> = { answer: start(cancel.signal), cancel, waiting: 0 };
    this.#running.set(key, running);
    const forget = () => this.#forget(key, running);
    running.answer.then(forget, forget);
    return running;
  }

  #forget(key: string, running: Running<T>): void {
    if (this.#running.get(key) === running) this.#running.delete(key);
  }
}
