/**
 * Keeps what passes below so many bytes per second. Whoever wants to pass takes leave for its bytes first, and waits in
 * the order of arrival while there is none. Users of different kinds get a lane each: lanes share alike, so that many
 * small takes of one are not starved by a few large ones of another.
 *
 * After a pause at most a tenth of a second's worth passes at once (64 KiB where that is more). One timer serves all who
 * wait. How many may wait is for the callers to bound.
 */
import { TokenBucket } from './token-bucket.ts';

const BURST_SECONDS = 0.1;
/** The least that passes as one. */
export const MIN_BURST_BYTES: number = 64 * 1024;
/** Shorter sleeps would only cost; what is saved up meanwhile passes together. */
const SHORTEST_SLEEP_MS = 5;

/** How much may pass at once under a limit of `bytesPerSecond`. */
export function burstBytes(bytesPerSecond: number): number {
  return Math.max(MIN_BURST_BYTES, Math.round(bytesPerSecond * BURST_SECONDS));
}

export interface RateLane {
  /**
   * Undefined when the bytes may pass at once; else resolves when they may. More than the burst passes when all before
   * is paid for, and is paid for by those after it. @throws (rejects with) the signal's reason, and nothing was taken
   */
  take(bytes: number, signal?: AbortSignal): Promise<void> | undefined;
  /** Counts bytes that passed unasked; negative ones give back what was taken and did not pass. */
  spend(bytes: number): void;
}

interface Waiting {
  readonly bytes: number;
  readonly grant: () => void;
}

interface LaneQueue {
  readonly waiting: Waiting[];
  /** Bytes granted, raised to what others had when this lane came back from a pause: the lowest is next. */
  granted: number;
}

export class RateLimit {
  readonly bytesPerSecond: number;
  readonly #now: () => number;
  readonly #bucket: TokenBucket;
  /** Only lanes in which somebody waits. */
  readonly #busy = new Set<LaneQueue>();
  /** What the lane served last had been granted before. */
  #grantedLevel = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param now monotonic milliseconds */
  constructor(options: { bytesPerSecond: number }, now: () => number = () => performance.now()) {
    this.bytesPerSecond = options.bytesPerSecond;
    this.#now = now;
    this.#bucket = new TokenBucket(
      { perSecond: options.bytesPerSecond, burst: burstBytes(options.bytesPerSecond) },
      now(),
    );
  }

  lane(): RateLane {
    const lane: LaneQueue = { waiting: [], granted: 0 };
    return {
      take: (bytes, signal) => this.#take(lane, bytes, signal),
      spend: (bytes) => {
        this.#bucket.spend(bytes, this.#now());
        if (bytes < 0) this.#grantAll();
      },
    };
  }

  #take(lane: LaneQueue, bytes: number, signal: AbortSignal | undefined): Promise<void> | undefined {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#busy.size === 0 && this.#bucket.take(bytes, this.#now())) return undefined;
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        bytes,
        grant: () => {
          signal?.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = () => {
        lane.waiting.splice(lane.waiting.indexOf(entry), 1);
        if (lane.waiting.length === 0) this.#busy.delete(lane);
        reject(signal?.reason);
        this.#grantAll();
      };
      signal?.addEventListener('abort', leave, { once: true });
      if (lane.waiting.push(entry) === 1) {
        lane.granted = Math.max(lane.granted, this.#grantedLevel);
        this.#busy.add(lane);
      }
      if (this.#next()?.waiting[0] === entry) this.#sleep();
    });
  }

  #grantAll(): void {
    for (let lane = this.#next(); lane !== undefined; lane = this.#next()) {
      const entry = lane.waiting[0] as Waiting;
      if (!this.#bucket.take(entry.bytes, this.#now())) break;
      lane.waiting.shift();
      if (lane.waiting.length === 0) this.#busy.delete(lane);
      this.#grantedLevel = lane.granted;
      lane.granted += entry.bytes;
      entry.grant();
    }
    this.#sleep();
  }

  #next(): LaneQueue | undefined {
    let next: LaneQueue | undefined;
    for (const lane of this.#busy) if (next === undefined || lane.granted < next.granted) next = lane;
    return next;
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const head = this.#next()?.waiting[0];
    if (head === undefined) return;
    const waitMs = Math.max(SHORTEST_SLEEP_MS, Math.ceil(this.#bucket.waitMs(head.bytes, this.#now())));
    this.#timer = setTimeout(() => this.#grantAll(), waitMs);
  }
}

/**
 * Leave from each of `lanes`, one after the other. The narrowest comes first, so that nobody waits for it with a share of
 * the others in hand. When the signal fires, all is given back.
 */
export function takeAll(lanes: readonly RateLane[], bytes: number, signal?: AbortSignal): Promise<void> | undefined {
  for (const [at, lane] of lanes.entries()) {
    const leave = lane.take(bytes, signal);
    if (leave !== undefined) return takeRest(lanes, at, leave, bytes, signal);
  }
  return undefined;
}

async function takeRest(
  lanes: readonly RateLane[],
  from: number,
  leave: Promise<void>,
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let taken = from;
  try {
    await leave;
    for (taken++; taken < lanes.length; taken++) await lanes[taken]?.take(bytes, signal);
  } catch (error) {
    for (const lane of lanes.slice(0, taken)) lane.spend(-bytes);
    throw error;
  }
}
