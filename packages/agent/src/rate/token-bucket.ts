/** A number of tokens that grows with time up to a limit. Takes no action and has no clock of its own. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #level: number;
  #atMs: number;

  /** Starts full. `burst` is the most that gathers while nobody takes. */
  constructor(options: { perSecond: number; burst: number }, nowMs: number) {
    this.#perMs = options.perSecond / 1000;
    this.#burst = options.burst;
    this.#level = options.burst;
    this.#atMs = nowMs;
  }

  /** Takes `count` if that many are there. More than the burst never is: then a full bucket goes into debt for them. */
  take(count: number, nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#level < Math.min(count, this.#burst)) return false;
    this.#level -= count;
    return true;
  }

  /** Takes `count` unasked, on credit if need be; a negative count gives back. */
  spend(count: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#level = Math.min(this.#burst, this.#level - count);
  }

  /** How long until `take(count)` succeeds, when nobody else takes. */
  waitMs(count: number, nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, (Math.min(count, this.#burst) - this.#level) / this.#perMs);
  }

  #fill(nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
