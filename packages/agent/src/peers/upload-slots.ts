/**
 * How many pieces are sent at once, and to whom. Few at a time, so that each leaves quickly and can be passed on. A short
 * queue smooths bursts; beyond it the answer is "busy", at once.
 *
 * - In the order of arrival.
 * - A quarter of the slots and of the queue is kept for newcomers: an agent that holds little of a blob has nothing to
 *   trade yet and is not kept out by those that trade already.
 * - One peer has at most its share of the slots and of the queue: whoever takes its pieces slowly holds up only itself.
 */

/** Longest wait in the queue before the requester is told to go elsewhere. */
const QUEUE_WAIT_MS = 500;
const MIN_RETRY_AFTER_MS = 20;
const MAX_RETRY_AFTER_MS = 1_000;
/** What a slot is taken to be held for until it is known. */
const FIRST_HOLD_MS = 50;
const SMOOTHING = 0.2;

export interface UploadSlotsOptions {
  slots: number;
  /** Requests that wait. */
  queueLimit: number;
  slotsPerPeer: number;
  queuePerPeer: number;
}

export interface SlotRequest {
  peerId: string;
  newcomer: boolean;
}

interface Waiting extends SlotRequest {
  readonly grant: () => void;
}

export class UploadSlots {
  readonly #options: UploadSlotsOptions;
  readonly #forOldHands: number;
  readonly #queueForOldHands: number;
  readonly #now: () => number;
  readonly #queue: Waiting[] = [];
  readonly #heldBy = new Map<string, number>();
  #held = 0;
  #heldByOldHands = 0;
  #holdMs = FIRST_HOLD_MS;

  /** @param now monotonic milliseconds */
  constructor(options: UploadSlotsOptions, dependencies: { now: () => number }) {
    this.#options = options;
    this.#now = dependencies.now;
    this.#forOldHands = options.slots - quarterOf(options.slots);
    this.#queueForOldHands = options.queueLimit - quarterOf(options.queueLimit);
  }

  /** When somebody who was refused now may find a place in the queue. */
  get retryAfterMs(): number {
    const queueMs = (this.#holdMs * (this.#queue.length + 1)) / this.#options.slots;
    return Math.round(Math.min(MAX_RETRY_AFTER_MS, Math.max(MIN_RETRY_AFTER_MS, queueMs)));
  }

  /** Resolves to a function that gives the slot back (once), or to undefined: busy, or the requester went away. */
  take(request: SlotRequest, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    if (this.#mayHold(request)) return Promise.resolve(this.#hold(request));
    if (!this.#mayWait(request)) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1);
        settle(undefined);
      };
      const waiting: Waiting = { ...request, grant: () => settle(this.#hold(request)) };
      const timer = setTimeout(leave, QUEUE_WAIT_MS);
      const settle = (release: (() => void) | undefined) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve(release);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(waiting);
    });
  }

  #mayHold({ peerId, newcomer }: SlotRequest): boolean {
    if (this.#held >= this.#options.slots) return false;
    if (!newcomer && this.#heldByOldHands >= this.#forOldHands) return false;
    return (this.#heldBy.get(peerId) ?? 0) < this.#options.slotsPerPeer;
  }

  #mayWait({ peerId, newcomer }: SlotRequest): boolean {
    if (this.#queue.length >= this.#options.queueLimit) return false;
    if (!newcomer && this.#queue.filter((one) => !one.newcomer).length >= this.#queueForOldHands) return false;
    return this.#queue.filter((one) => one.peerId === peerId).length < this.#options.queuePerPeer;
  }

  #hold({ peerId, newcomer }: SlotRequest): () => void {
    const sinceMs = this.#now();
    this.#held++;
    if (!newcomer) this.#heldByOldHands++;
    this.#heldBy.set(peerId, (this.#heldBy.get(peerId) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holdMs += (this.#now() - sinceMs - this.#holdMs) * SMOOTHING;
      this.#held--;
      if (!newcomer) this.#heldByOldHands--;
      const left = (this.#heldBy.get(peerId) ?? 1) - 1;
      if (left === 0) this.#heldBy.delete(peerId);
      else this.#heldBy.set(peerId, left);
      this.#grantNext();
    };
  }

  #grantNext(): void {
    const at = this.#queue.findIndex((waiting) => this.#mayHold(waiting));
    if (at >= 0) this.#queue.splice(at, 1)[0]?.grant();
  }
}

/** At least one of several. */
function quarterOf(count: number): number {
  return count > 1 ? Math.max(1, Math.floor(count / 4)) : 0;
}
