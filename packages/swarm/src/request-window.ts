/**
 * How many pieces are asked of peers at the same time: as many as may be, but fewer while they take long. What is asked for
 * early waits in a queue, at the sender or on the way, where something more urgent cannot overtake it.
 */
/** A piece that takes longer than this from a peer shows that more is asked for than the links carry. */
const UNHURRIED_MS = 2_000;
const MIN_IN_FLIGHT = 8;
const SMOOTHING = 0.1;

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
