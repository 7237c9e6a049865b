/**
 * How many pieces are asked of peers at the same time: as many as may be, but fewer while they take long. What is asked for
 * early waits in a queue, at the sender or on the way, where something more urgent cannot overtake it.
 */
import { DEFAULT_UPLOAD_SLOTS, uploadLimits } from './upload-queue.ts';

/** A piece that takes longer than this from a peer shows that more is asked for than the links carry. */
const UNHURRIED_MS = 2_000;
const MIN_IN_FLIGHT = 8;
const SMOOTHING = 0.1;
/** A peer that brings nothing for this long does not answer; on slow links, for so many times what a piece takes. */
const MIN_DEADLINE_MS = 2_000;
const DEADLINE_FACTOR = 3;
const MAX_DEADLINE_MS = 6_000;
/** What pieces on their way from peers may take in memory, per blob. */
const IN_FLIGHT_BYTES = 18 * 1024 * 1024;
const LEAST = 4;

/**
 * The most that an agent asks of its peers for one blob at the same time: as much as an agent serves and keeps waiting. Were
 * it more, whoever is asked would refuse the rest; were it less, the links would idle. (1 GiB to 100 nodes in the simulator:
 * last node 1.08, 1.05, 1.06 and 1.08 times the bound with 14, 18, 26 and 32.)
 */
export function mostInFlight(pieceBytes: number): number {
  const { slots, queueLimit } = uploadLimits(DEFAULT_UPLOAD_SLOTS);
  return Math.min(slots + queueLimit, Math.max(LEAST, Math.floor(IN_FLIGHT_BYTES / pieceBytes)));
}

export class RequestWindow {
  readonly #most: number;
  #size: number;
  #pieceMs = 0;

  constructor(most: number) {
    this.#most = most;
    this.#size = most;
  }

  get size(): number {
    return this.#size;
  }

  /** How long a piece from a peer takes, smoothed. */
  get pieceMs(): number {
    return this.#pieceMs;
  }

  /** How long a peer may bring nothing. */
  get deadlineMs(): number {
    return Math.min(MAX_DEADLINE_MS, Math.max(MIN_DEADLINE_MS, Math.round(DEADLINE_FACTOR * this.#pieceMs)));
  }

  came(tookMs: number): void {
    this.#pieceMs += (tookMs - this.#pieceMs) * SMOOTHING;
    if (tookMs > UNHURRIED_MS) this.failed();
    else this.#size = Math.min(this.#most, this.#size + 1);
  }

  /** A piece did not come in time. */
  failed(): void {
    this.#size = Math.max(Math.min(MIN_IN_FLIGHT, this.#most), this.#size - 1);
  }
}
