/**
 * A link that its transfers share equally at every moment, as TCP connections over one bottleneck do in the long run. It
 * conserves bandwidth: while there is enough to send it carries exactly its rate.
 *
 * All transfers get the same bytes per millisecond, so one counter tells how far each has come: a transfer ends when the
 * counter has grown by its size. What is added later usually ends later, so both ends of the list are cheap.
 */
const ROUNDING_BYTES = 0.01;

export class EqualShareLink<Job> {
  /** What is under way, in order of its end. */
  readonly jobs: Job[] = [];
  readonly #bytesPerMs: number;
  readonly #mostEach: number;
  readonly #endsAt: number[] = [];
  readonly #sizes: number[] = [];
  #atMs = 0;
  #sentBytes = 0;
  /** Bytes that a transfer has got that was there since the link was last idle. */
  #each = 0;
  #paused = false;

  /** @param mostEach bytes per millisecond that one transfer can use */
  constructor(bytesPerMs: number, mostEach: number = bytesPerMs) {
    this.#bytesPerMs = bytesPerMs;
    this.#mostEach = mostEach;
  }

  add(job: Job, sizeBytes: number, nowMs: number): void {
    this.#advance(nowMs);
    if (this.jobs.length === 0) this.#each = 0;
    const end = this.#each + sizeBytes;
    let place = this.jobs.length;
    while (place > 0 && (this.#endsAt[place - 1] as number) > end) place--;
    if (place === this.jobs.length) {
      this.jobs.push(job);
      this.#endsAt.push(end);
      this.#sizes.push(sizeBytes);
    } else {
      this.jobs.splice(place, 0, job);
      this.#endsAt.splice(place, 0, end);
      this.#sizes.splice(place, 0, sizeBytes);
    }
  }

  /** Stops a transfer; returns how many of its bytes were carried, or undefined when it is not under way. */
  remove(job: Job, nowMs: number): number | undefined {
    this.#advance(nowMs);
    const place = this.jobs.indexOf(job);
    if (place < 0) return undefined;
    const carried = this.#carried(place);
    this.jobs.splice(place, 1);
    this.#endsAt.splice(place, 1);
    this.#sizes.splice(place, 1);
    return carried;
  }

  /** How many bytes of a transfer have been carried; 0 when it is not under way. */
  carried(job: Job, nowMs: number): number {
    this.#advance(nowMs);
    const place = this.jobs.indexOf(job);
    return place < 0 ? 0 : this.#carried(place);
  }

  /** Bytes carried by now, of all transfers. */
  sentBytes(nowMs: number): number {
    this.#advance(nowMs);
    return this.#sentBytes;
  }

  /** When the next transfer ends if none is added or removed; Infinity while there is none. */
  nextEndMs(): number {
    const rate = this.#rate();
    if (rate === 0) return Number.POSITIVE_INFINITY;
    return this.#atMs + Math.max(0, (this.#endsAt[0] as number) - this.#each) / rate;
  }

  /** A transfer that has ended by now. */
  takeEnded(nowMs: number): Job | undefined {
    this.#advance(nowMs);
    if (this.jobs.length === 0 || (this.#endsAt[0] as number) > this.#each + ROUNDING_BYTES) return undefined;
    this.#endsAt.shift();
    this.#sizes.shift();
    return this.jobs.shift();
  }

  /** Nothing is carried until `resume`. */
  pause(nowMs: number): void {
    this.#advance(nowMs);
    this.#paused = true;
  }

  resume(nowMs: number): void {
    this.#advance(nowMs);
    this.#paused = false;
  }

  #rate(): number {
    const count = this.jobs.length;
    return count === 0 || this.#paused ? 0 : Math.min(this.#mostEach, this.#bytesPerMs / count);
  }

  #carried(place: number): number {
    const size = this.#sizes[place] as number;
    return Math.min(size, size - ((this.#endsAt[place] as number) - this.#each));
  }

  #advance(nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    const each = this.#rate() * (nowMs - this.#atMs);
    this.#each += each;
    this.#sentBytes += each * this.jobs.length;
    this.#atMs = nowMs;
  }
}
