/** How many pieces are sent at once. A short queue smooths bursts; beyond it the answer is "busy", at once. */

/** Longest wait in the queue before the requester is told to go elsewhere. */
const QUEUE_WAIT_MS = 500;

export class UploadSlots {
  readonly #queueLimit: number;
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(options: { slots: number; queueLimit: number }) {
    this.#free = options.slots;
    this.#queueLimit = options.queueLimit;
  }

  /** Resolves to a function that gives the slot back (once), or to undefined: busy, or the requester went away. */
  take(signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve(this.#releaser());
    }
    if (this.#queue.length >= this.#queueLimit) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const leave = () => {
        const at = this.#queue.indexOf(grant);
        if (at >= 0) this.#queue.splice(at, 1);
        settle(undefined);
      };
      const grant = () => settle(this.#releaser());
      const timer = setTimeout(leave, QUEUE_WAIT_MS);
      const settle = (release: (() => void) | undefined) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve(release);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(grant);
    });
  }

  #releaser(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#queue.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }
}
