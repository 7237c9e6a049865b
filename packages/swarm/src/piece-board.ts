/**
 * Where each piece of a blob stands, kept so that the questions asked at every event cost nothing: which pieces could be
 * asked of a peer now, and is there any that nobody offers.
 *
 *   here       verified and on disk
 *   asked      under way from one peer, or from two in need
 *   leased     this agent's to read from the origin
 *   ready      offered by somebody we may ask
 *   uncovered  none of these
 */
import type { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';

export const HERE = 0;
export const ASKED = 1;
export const LEASED = 2;
export const READY = 3;
export const UNCOVERED = 4;
export type Standing = typeof HERE | typeof ASKED | typeof LEASED | typeof READY | typeof UNCOVERED;

export class PieceBoard {
  readonly #standing: Uint8Array;
  readonly #counts: Uint32Array = new Uint32Array(5);
  /** A bit per ready piece, as in a PieceMap. */
  readonly #readyWords: Int32Array;
  /** The ready pieces in no order, and where each is in that list. */
  readonly #ready: Int32Array;
  readonly #place: Int32Array;

  constructor(pieceCount: number) {
    this.#standing = new Uint8Array(pieceCount).fill(UNCOVERED);
    this.#counts[UNCOVERED] = pieceCount;
    this.#readyWords = new Int32Array(Math.ceil(pieceCount / 32));
    this.#ready = new Int32Array(pieceCount);
    this.#place = new Int32Array(pieceCount);
  }

  count(standing: Standing): number {
    return this.#counts[standing] as number;
  }

  is(index: number, standing: Standing): boolean {
    return this.#standing[index] === standing;
  }

  set(index: number, standing: Standing): void {
    const before = this.#standing[index] as Standing;
    if (before === standing) return;
    if (before === READY) this.#leaveReady(index);
    this.#standing[index] = standing;
    this.#counts[before] = (this.#counts[before] as number) - 1;
    if (standing === READY) this.#enterReady(index);
    this.#counts[standing] = (this.#counts[standing] as number) + 1;
  }

  /** The first piece from `from` on that stands so; undefined when there is none. */
  first(standing: Standing, from = 0): number | undefined {
    if (this.count(standing) === 0) return undefined;
    const index = this.#standing.indexOf(standing, from);
    return index < 0 ? undefined : index;
  }

  /** Fills `into` with some of the ready pieces, chosen evenly, and returns how many. None comes twice. */
  sampleReady(into: Int32Array, random: Random): number {
    const total = this.count(READY);
    const count = Math.min(total, into.length);
    // A partial shuffle: what is drawn moves to the front of the list, where it does no harm.
    for (let drawn = 0; drawn < count; drawn++) {
      if (count < total) this.#swap(drawn, drawn + Math.floor(random() * (total - drawn)));
      into[drawn] = this.#ready[drawn] as number;
    }
    return count;
  }

  /** A ready piece that is in `pieces`, from a random place on; undefined when there is none. */
  readyAmong(pieces: PieceMap, random: Random): number | undefined {
    return this.count(READY) === 0 ? undefined : pieces.firstCommon(this.#readyWords, random());
  }

  #enterReady(index: number): void {
    this.#readyWords[index >> 5] = (this.#readyWords[index >> 5] as number) | (1 << (index & 31));
    const place = this.count(READY);
    this.#ready[place] = index;
    this.#place[index] = place;
  }

  /** Before the count is lowered. */
  #leaveReady(index: number): void {
    this.#readyWords[index >> 5] = (this.#readyWords[index >> 5] as number) & ~(1 << (index & 31));
    this.#swap(this.#place[index] as number, this.count(READY) - 1);
  }

  #swap(a: number, b: number): void {
    const first = this.#ready[a] as number;
    const second = this.#ready[b] as number;
    this.#ready[a] = second;
    this.#ready[b] = first;
    this.#place[second] = a;
    this.#place[first] = b;
  }
}
