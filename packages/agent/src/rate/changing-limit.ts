/**
 * A limit that is set, changed and lifted while it is in use. Whoever waits when it changes still waits for the one before;
 * what comes next is counted by the new one.
 */
import { type RateLane, RateLimit } from './rate-limit.ts';

export class ChangingLimit {
  #limit: RateLimit | undefined;

  /** @param bytesPerSecond undefined: no limit */
  constructor(bytesPerSecond: number | undefined) {
    this.set(bytesPerSecond);
  }

  set(bytesPerSecond: number | undefined): void {
    if (bytesPerSecond === this.#limit?.bytesPerSecond) return;
    this.#limit = bytesPerSecond === undefined ? undefined : new RateLimit({ bytesPerSecond });
  }

  /** A lane under whatever the limit is. */
  lane(): RateLane {
    let of: RateLimit | undefined;
    let lane: RateLane | undefined;
    const now = (): RateLane | undefined => {
      if (of !== this.#limit) {
        of = this.#limit;
        lane = of?.lane();
      }
      return lane;
    };
    return { take: (bytes, signal) => now()?.take(bytes, signal), spend: (bytes) => now()?.spend(bytes) };
  }

  /** The same, or undefined while there is no limit: for those who would pay for asking. */
  laneIfLimited(): RateLane | undefined {
    return this.#limit === undefined ? undefined : this.lane();
  }
}
