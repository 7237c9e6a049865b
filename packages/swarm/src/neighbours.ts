/** The members that trade one blob with us: what each holds, what it owes us, and how it has behaved. */
import { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';

export interface Neighbour {
  readonly id: string;
  readonly sameZone: boolean;
  pieces: PieceMap;
  inFlight: number;
  /** Not asked before this time: it was busy or slow. */
  restUntilMs: number;
  /** Failures in a row; each doubles the rest. */
  failures: number;
  /** How long its pieces take, smoothed; what a first one may take before there is a measure. */
  pieceMs: number;
  /** Sent bytes that did not verify: never asked again for this blob. */
  barred: boolean;
  /** When it last answered a request, with a piece or a refusal. */
  heardAtMs: number;
  /** Does not answer any more, and rests: what it holds is as good as missing meanwhile. */
  silent: boolean;
}

const SLOW_REST_MS = 1_000;
/** A request is given up after 2 s: an answer within that time shows that the neighbour lives. */
const HEARD_LATELY_MS = 2_000;
const MAX_REST_MS = 30_000;
const FIRST_PIECE_MS = 100;
const SMOOTHING = 0.25;
const MAX_LEFT = 256;

export class Neighbours {
  readonly #pieceCount: number;
  readonly #zone: string;
  readonly #slotsEach: number;
  readonly #byId = new Map<string, Neighbour>();
  #list: Neighbour[] = [];
  #barred: string[] = [];
  /** Those that left while they owed us a piece, the first one first: how they begin should they come back. */
  readonly #left = new Map<string, Pick<Neighbour, 'restUntilMs' | 'failures'>>();
  /** Before this time nobody's rest ends. */
  #restEndsAtMs = Number.POSITIVE_INFINITY;
  readonly #near: Uint16Array;
  readonly #far: Uint16Array;

  constructor(options: { pieceCount: number; zone: string; slotsPerPeer: number }) {
    this.#pieceCount = options.pieceCount;
    this.#zone = options.zone;
    this.#slotsEach = options.slotsPerPeer;
    this.#near = new Uint16Array(options.pieceCount);
    this.#far = new Uint16Array(options.pieceCount);
  }

  get size(): number {
    return this.#list.length;
  }

  get all(): readonly Neighbour[] {
    return this.#list;
  }

  /** Those that sent bytes which did not verify, also after they left. */
  get barred(): readonly string[] {
    return this.#barred;
  }

  get(id: string): Neighbour | undefined {
    return this.#byId.get(id);
  }

  /** Those that did not answer when asked for a piece, or left without, and rest. */
  silent(nowMs: number): string[] {
    const here = this.#list.filter(({ silent }) => silent).map(({ id }) => id);
    const left = [...this.#left].filter(([id, { restUntilMs }]) => restUntilMs > nowMs && !this.#byId.has(id));
    return [...here, ...left.map(([id]) => id)];
  }

  /** Neighbours of our zone that hold the piece, barred and silent ones left out. */
  nearCopies(index: number): number {
    return this.#near[index] as number;
  }

  farCopies(index: number): number {
    return this.#far[index] as number;
  }

  copies(index: number): number {
    return this.nearCopies(index) + this.farCopies(index);
  }

  /** Adds the neighbour if it is new. */
  meet(id: string, zone: string): Neighbour {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const left = this.#left.get(id);
    const neighbour: Neighbour = {
      id,
      sameZone: zone === this.#zone,
      pieces: PieceMap.empty(this.#pieceCount),
      inFlight: 0,
      restUntilMs: left?.restUntilMs ?? 0,
      failures: left?.failures ?? 0,
      pieceMs: FIRST_PIECE_MS,
      barred: this.#barred.includes(id),
      heardAtMs: Number.NEGATIVE_INFINITY,
      silent: left !== undefined,
    };
    this.#byId.set(id, neighbour);
    this.#list.push(neighbour);
    return neighbour;
  }

  setMap(neighbour: Neighbour, pieces: PieceMap): void {
    this.#count(neighbour, -1);
    neighbour.pieces = pieces;
    this.#count(neighbour, 1);
  }

  /** Returns whether that was news. */
  add(neighbour: Neighbour, index: number): boolean {
    if (!neighbour.pieces.add(index) || !counts(neighbour)) return false;
    const copies = neighbour.sameZone ? this.#near : this.#far;
    copies[index] = (copies[index] as number) + 1;
    return true;
  }

  remove(neighbour: Neighbour): void {
    this.#count(neighbour, -1);
    this.#byId.delete(neighbour.id);
    this.#list = this.#list.filter((other) => other !== neighbour);
    const { id, restUntilMs, failures } = neighbour;
    if (failures === 0) return;
    this.#left.delete(id);
    this.#left.set(id, { restUntilMs, failures });
    const [first] = this.#left.keys();
    if (this.#left.size > MAX_LEFT && first !== undefined) this.#left.delete(first);
  }

  notHeld(neighbour: Neighbour, index: number): void {
    if (!neighbour.pieces.has(index)) return;
    neighbour.pieces.remove(index);
    if (!counts(neighbour)) return;
    const copies = neighbour.sameZone ? this.#near : this.#far;
    copies[index] = (copies[index] as number) - 1;
  }

  bar(neighbour: Neighbour): void {
    if (neighbour.barred) return;
    this.#count(neighbour, -1);
    neighbour.barred = true;
    this.#barred.push(neighbour.id);
  }

  /** Returns whether what it holds counts again. */
  delivered(neighbour: Neighbour, tookMs: number, nowMs: number): boolean {
    neighbour.heardAtMs = nowMs;
    neighbour.failures = 0;
    this.#left.delete(neighbour.id);
    neighbour.pieceMs += (Math.max(1, tookMs) - neighbour.pieceMs) * SMOOTHING;
    return this.#speaksAgain(neighbour);
  }

  rest(neighbour: Neighbour, untilMs: number): void {
    neighbour.restUntilMs = untilMs;
    this.#restEndsAtMs = Math.min(this.#restEndsAtMs, untilMs);
  }

  /** Whether a neighbour's rest has ended since this was asked last. */
  restEnded(nowMs: number): boolean {
    if (nowMs < this.#restEndsAtMs) return false;
    this.#restEndsAtMs = Number.POSITIVE_INFINITY;
    for (const { restUntilMs } of this.#list) {
      if (restUntilMs > nowMs) this.#restEndsAtMs = Math.min(this.#restEndsAtMs, restUntilMs);
    }
    return true;
  }

  /** A request was not answered in time. A neighbour that answers others meanwhile only has much to do. */
  slow(neighbour: Neighbour, nowMs: number): void {
    if (nowMs - neighbour.heardAtMs < HEARD_LATELY_MS) this.rest(neighbour, nowMs + SLOW_REST_MS);
    else this.fail(neighbour, nowMs);
  }

  /** It does not answer any more. */
  fail(neighbour: Neighbour, nowMs: number): void {
    this.rest(neighbour, nowMs + Math.min(MAX_REST_MS, SLOW_REST_MS * 2 ** neighbour.failures));
    neighbour.failures++;
    this.#count(neighbour, -1);
    neighbour.silent = true;
  }

  /** Gives those whose rest is over another chance; returns whether there were any. */
  endRests(nowMs: number): boolean {
    let ended = false;
    for (const neighbour of this.#list) {
      if (neighbour.silent && neighbour.restUntilMs <= nowMs) ended = this.#speaksAgain(neighbour) || ended;
    }
    return ended;
  }

  /** Whether somebody who is not resting holds the piece (its slots may all be taken). */
  offered(index: number, farToo: boolean, nowMs: number): boolean {
    if (this.nearCopies(index) === 0 && !(farToo && this.farCopies(index) > 0)) return false;
    return this.#list.some(
      ({ barred, silent, restUntilMs, sameZone, pieces }) =>
        !barred && !silent && restUntilMs <= nowMs && (sameZone || farToo) && pieces.has(index),
    );
  }

  /**
   * Whom to ask for a piece: same zone before others, and by weighted random over what each can still take and how
   * fast it has been.
   */
  choose(index: number, farToo: boolean, nowMs: number, random: Random, except?: Neighbour): Neighbour | undefined {
    const near = this.nearCopies(index) > 0 ? this.#choose(index, true, nowMs, random, except) : undefined;
    if (near !== undefined || !farToo || this.farCopies(index) === 0) return near;
    return this.#choose(index, false, nowMs, random, except);
  }

  /** Whether it can take one more request now. */
  hasSpare(neighbour: Neighbour, nowMs: number): boolean {
    return counts(neighbour) && neighbour.restUntilMs <= nowMs && neighbour.inFlight < this.#slotsEach;
  }

  /** Those that can take one more request now, from a random one on. */
  *withSpare(nowMs: number, random: Random): Generator<Neighbour> {
    const { length } = this.#list;
    const start = Math.floor(random() * length);
    for (let step = 0; step < length; step++) {
      const neighbour = this.#list[(start + step) % length] as Neighbour;
      if (this.hasSpare(neighbour, nowMs)) yield neighbour;
    }
  }

  #choose(
    index: number,
    sameZone: boolean,
    nowMs: number,
    random: Random,
    except: Neighbour | undefined,
  ): Neighbour | undefined {
    let total = 0;
    let chosen: Neighbour | undefined;
    for (const neighbour of this.#list) {
      const spare = this.#slotsEach - neighbour.inFlight;
      if (spare <= 0 || neighbour.sameZone !== sameZone || !neighbour.pieces.has(index)) continue;
      if (!counts(neighbour) || neighbour.restUntilMs > nowMs || neighbour === except) continue;
      const weight = spare / neighbour.pieceMs;
      total += weight;
      if (random() * total < weight) chosen = neighbour;
    }
    return chosen;
  }

  #speaksAgain(neighbour: Neighbour): boolean {
    if (!neighbour.silent) return false;
    neighbour.silent = false;
    neighbour.restUntilMs = 0;
    this.#count(neighbour, 1);
    return true;
  }

  /** Adds what it holds to the copies, or takes it away, unless it does not count anyway. */
  #count(neighbour: Neighbour, by: 1 | -1): void {
    if (neighbour.pieces.held === 0 || !counts(neighbour)) return;
    const copies = neighbour.sameZone ? this.#near : this.#far;
    for (let index = 0; index < this.#pieceCount; index++) {
      if (neighbour.pieces.has(index)) copies[index] = (copies[index] as number) + by;
    }
  }
}

function counts({ barred, silent }: Neighbour): boolean {
  return !barred && !silent;
}
