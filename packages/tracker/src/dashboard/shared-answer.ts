/** One answer for all who ask within a moment. The longer it takes to make, the longer it serves, so that looking takes little of the tracker's time. */
const LEAST_MS = 500;
/** Making it takes at most one part in so many of the time. */
const SHARE = 20;

export class SharedAnswer {
  readonly #make: () => object;
  readonly #now: () => number;
  #text = '';
  #servesUntilMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(make: () => object, { now }: { now: () => number }) {
    this.#make = make;
    this.#now = now;
  }

  /** As JSON. */
  text(): string {
    const startedMs = this.#now();
    if (startedMs < this.#servesUntilMs) return this.#text;
    this.#text = JSON.stringify(this.#make());
    const endedMs = this.#now();
    this.#servesUntilMs = endedMs + Math.max(LEAST_MS, (endedMs - startedMs) * SHARE);
    return this.#text;
  }
}
