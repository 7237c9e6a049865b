/** How often one blob's leases are asked for: spreads the asks of a crowd, and sees when an agent is alone. */

/** Refused asks per second that one blob may cost the tracker. */
const TARGET_PER_SECOND = 300;
const MIN_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
/** Nobody else asked for this long: the agent has the blob to itself. */
const ALONE_AFTER_MS = 2_000;

export class AskRate {
  #second = Number.NEGATIVE_INFINITY;
  #inThisSecond = 0;
  #retryMs = MIN_RETRY_MS;
  #agent: string | undefined;
  /** When somebody else than `#agent` last asked. */
  #otherAtMs = Number.NEGATIVE_INFINITY;
  #lastRun: { agent: string; pieces: number } | undefined;

  note(agent: string, nowMs: number): void {
    if (this.#agent !== agent && this.#agent !== undefined) this.#otherAtMs = nowMs;
    this.#agent = agent;
  }

  granted(agent: string, pieces: number): void {
    this.#lastRun = { agent, pieces };
  }

  /** The length of the agent's last run, when it got the last run of all and nobody else has asked lately. */
  lastRunIfAlone(agent: string, nowMs: number): number | undefined {
    if (this.#lastRun?.agent !== agent || nowMs < this.#otherAtMs + ALONE_AFTER_MS) return undefined;
    return this.#lastRun.pieces;
  }

  /** Counts a refused ask, and says when to ask again: the more ask, the later. */
  retryAfterMs(nowMs: number): number {
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) {
      const pace = second === this.#second + 1 ? this.#inThisSecond / TARGET_PER_SECOND : 0;
      this.#retryMs = Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, this.#retryMs * pace));
      this.#second = second;
      this.#inThisSecond = 0;
    }
    this.#inThisSecond++;
    const crowdMs = (1_000 * this.#inThisSecond) / TARGET_PER_SECOND;
    return Math.ceil(Math.min(MAX_RETRY_MS, Math.max(this.#retryMs, crowdMs)));
  }
}
