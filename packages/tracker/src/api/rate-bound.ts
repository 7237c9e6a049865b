import { LRUCache } from 'lru-cache';

const MAX_CALLERS = 50_000;

export interface RateBoundOptions {
  /** Calls of one caller per second, over time. */
  perSecond: number;
  /** Calls of one caller at once. */
  burst: number;
}

/** One token bucket per caller; callers that were quiet longest are forgotten, that is, get a full bucket again. */
export class RateBound {
  readonly #options: RateBoundOptions;
  readonly #clock: () => number;
  readonly #buckets = new LRUCache<string, { tokens: number; atMs: number }>({ max: MAX_CALLERS });

  constructor(options: RateBoundOptions, dependencies: { clock: () => number }) {
    this.#options = options;
    this.#clock = dependencies.clock;
  }

  /** Whether the caller may go on now. */
  take(caller: string): boolean {
    const nowMs = this.#clock();
    const { perSecond, burst } = this.#options;
    const bucket = this.#buckets.get(caller) ?? { tokens: burst, atMs: nowMs };
    const refill = (Math.max(0, nowMs - bucket.atMs) * perSecond) / 1000;
    const tokens = Math.min(burst, bucket.tokens + refill);
    const allowed = tokens >= 1;
    this.#buckets.set(caller, { tokens: allowed ? tokens - 1 : tokens, atMs: nowMs });
    return allowed;
  }
}
