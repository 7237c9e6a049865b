/**
 * How many pieces are sent at once, and to whom: `UploadQueue` decides, this class lets the senders wait for it. Few at a
 * time, so that each leaves quickly and can be passed on. A short queue smooths bursts; beyond it the answer is "busy".
 */
import { type Turn, UploadQueue, type UploadQueueOptions, type UploadRequest } from '@shoal/swarm';

const MIN_RETRY_AFTER_MS = 20;
const MAX_RETRY_AFTER_MS = 200;
/** What a slot is taken to be held for until it is known. */
const FIRST_HOLD_MS = 50;
const SMOOTHING = 0.2;
const DEFAULT_WAIT_MS = 500;

interface Waiting extends UploadRequest {
  readonly start: () => void;
  readonly refuse: () => void;
}

export class UploadSlots {
  #slots: number;
  readonly #waitMs: number;
  readonly #now: () => number;
  readonly #queue: UploadQueue<Waiting>;
  #holdMs = FIRST_HOLD_MS;

  /** @param now monotonic milliseconds */
  constructor(options: UploadQueueOptions, dependencies: { now: () => number }) {
    this.#slots = options.slots;
    this.#waitMs = options.waitMs ?? DEFAULT_WAIT_MS;
    this.#now = dependencies.now;
    this.#queue = new UploadQueue(options);
  }

  /** Pieces on their way, and requests that wait. */
  get depth(): { sending: number; waiting: number } {
    return { sending: this.#queue.sending, waiting: this.#queue.waiting };
  }

  resize(options: Omit<UploadQueueOptions, 'waitMs'>): void {
    this.#slots = options.slots;
    this.#follow(this.#queue.resize({ ...options, waitMs: this.#waitMs }, this.#now()));
  }

  /** When somebody who was refused now may find a place in the queue. */
  get retryAfterMs(): number {
    const queueMs = (this.#holdMs * (this.#queue.waiting + 1)) / this.#slots;
    return Math.round(Math.min(MAX_RETRY_AFTER_MS, Math.max(MIN_RETRY_AFTER_MS, queueMs)));
  }

  /** Resolves to a function that gives the slot back (once), or to undefined: busy, or the requester went away. */
  take(request: UploadRequest, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const settle = (release: (() => void) | undefined): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve(release);
      };
      const leave = (): void => {
        this.#queue.leave(waiting);
        settle(undefined);
      };
      const timer = setTimeout(() => this.#follow(this.#queue.expire(this.#now())), this.#waitMs + 1);
      signal.addEventListener('abort', leave, { once: true });
      const waiting: Waiting = {
        ...request,
        start: () => settle(this.#releaser(waiting)),
        refuse: () => settle(undefined),
      };
      this.#follow(this.#queue.ask(waiting, this.#now()));
    });
  }

  #follow({ start, refuse }: Turn<Waiting>): void {
    for (const waiting of start) waiting.start();
    for (const waiting of refuse) waiting.refuse();
  }

  #releaser(waiting: Waiting): () => void {
    const sinceMs = this.#now();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const now = this.#now();
      this.#holdMs += (now - sinceMs - this.#holdMs) * SMOOTHING;
      this.#follow(this.#queue.ended(waiting, now));
    };
  }
}
