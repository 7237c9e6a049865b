/**
 * Virtual time: what is going to happen, in order. Events are small numbers in typed arrays (a binary heap with four children
 * per node), because a run of ten thousand nodes has some hundred million of them; what happens rarely may be a function.
 * Events of the same instant happen in the order in which they were made, so a run can be repeated exactly.
 */

/** The kind of event that stands for a function; other kinds are the caller's. */
export const CALL = 0;
const FIRST_CAPACITY = 1_024;

export class Timeline {
  /** Milliseconds of virtual time. */
  nowMs = 0;
  /** The event that `next` came to. */
  kind = 0;
  a = 0;
  b = 0;
  /** Events that have happened. */
  count = 0;
  #size = 0;
  #made = 0;
  #atMs = new Float64Array(FIRST_CAPACITY);
  #order = new Float64Array(FIRST_CAPACITY);
  #kind = new Uint8Array(FIRST_CAPACITY);
  #a = new Int32Array(FIRST_CAPACITY);
  #b = new Int32Array(FIRST_CAPACITY);
  readonly #calls: ((() => void) | undefined)[] = [];
  readonly #freeCalls: number[] = [];

  /** Events to come. */
  get size(): number {
    return this.#size;
  }

  /** What should have happened in the past happens now. */
  at(atMs: number, kind: number, a: number, b: number): void {
    if (this.#size === this.#atMs.length) this.#grow();
    const time = Math.max(atMs, this.nowMs);
    const times = this.#atMs;
    let place = this.#size++;
    // A new event comes after all others of its time, so only an earlier time moves it up.
    while (place > 0) {
      const parent = (place - 1) >> 2;
      if ((times[parent] as number) <= time) break;
      this.#move(parent, place);
      place = parent;
    }
    this.#set(place, time, this.#made++, kind, a, b);
  }

  /** @param delayMs from now */
  later(delayMs: number, call: () => void): void {
    const slot = this.#freeCalls.pop() ?? this.#calls.length;
    this.#calls[slot] = call;
    this.at(this.nowMs + delayMs, CALL, slot, 0);
  }

  /** Calls the function of the CALL event that `next` came to. */
  call(): void {
    const call = this.#calls[this.a];
    this.#calls[this.a] = undefined;
    this.#freeCalls.push(this.a);
    call?.();
  }

  /** Moves on to the next event; false when there is none. */
  next(): boolean {
    if (this.#size === 0) return false;
    this.nowMs = this.#atMs[0] as number;
    this.kind = this.#kind[0] as number;
    this.a = this.#a[0] as number;
    this.b = this.#b[0] as number;
    this.count++;
    const last = --this.#size;
    if (last > 0) this.#sink(last);
    return true;
  }

  /** Puts the event at `from`, the last one, where it belongs below the root. */
  #sink(from: number): void {
    const times = this.#atMs;
    const orders = this.#order;
    const time = times[from] as number;
    const order = orders[from] as number;
    const size = this.#size;
    let place = 0;
    for (;;) {
      let best = place * 4 + 1;
      if (best >= size) break;
      let bestTime = times[best] as number;
      const end = Math.min(best + 4, size);
      for (let child = best + 1; child < end; child++) {
        const childTime = times[child] as number;
        if (childTime > bestTime) continue;
        if (childTime === bestTime && (orders[child] as number) > (orders[best] as number)) continue;
        best = child;
        bestTime = childTime;
      }
      if (bestTime > time || (bestTime === time && (orders[best] as number) > order)) break;
      this.#move(best, place);
      place = best;
    }
    this.#move(from, place);
  }

  #move(from: number, to: number): void {
    this.#set(
      to,
      this.#atMs[from] as number,
      this.#order[from] as number,
      this.#kind[from] as number,
      this.#a[from] as number,
      this.#b[from] as number,
    );
  }

  #set(place: number, atMs: number, order: number, kind: number, a: number, b: number): void {
    this.#atMs[place] = atMs;
    this.#order[place] = order;
    this.#kind[place] = kind;
    this.#a[place] = a;
    this.#b[place] = b;
  }

  #grow(): void {
    const capacity = 2 * this.#size;
    const grown = <A extends Float64Array | Int32Array | Uint8Array>(into: A, from: A): A => {
      into.set(from);
      return into;
    };
    this.#atMs = grown(new Float64Array(capacity), this.#atMs);
    this.#order = grown(new Float64Array(capacity), this.#order);
    this.#kind = grown(new Uint8Array(capacity), this.#kind);
    this.#a = grown(new Int32Array(capacity), this.#a);
    this.#b = grown(new Int32Array(capacity), this.#b);
  }
}
