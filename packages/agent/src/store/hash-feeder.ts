/**
 * Whether somebody reads an arriving blob in order, close behind its pieces, so that the blob's hash can be fed with what is
 * read for that reader anyway. Where nobody does, or not soon enough, the hash has to read the pieces back by itself.
 */
import type { PieceMap } from '@shoal/swarm';

/** A reader that takes longer to read what is next is no help, nor is one that is further behind than this. */
const FED_WITHIN_MS = 1_000;
const FED_LAG_PIECES = 16;

export class HashFeeder {
  readonly #pieces: PieceMap;
  readonly #now: () => number;
  #isFollowed = false;
  #waitUntilMs = Number.NEGATIVE_INFINITY;

  /** @param now monotonic milliseconds */
  constructor(pieces: PieceMap, now: () => number) {
    this.#pieces = pieces;
    this.#now = now;
  }

  /** Somebody has read up to where the hash is. */
  fed(): void {
    this.#isFollowed = true;
    this.#waitUntilMs = this.#now() + FED_WITHIN_MS;
  }

  /** The piece that the hash needs next is on the disk: whoever follows can read it from now on. */
  arrived(): void {
    this.#waitUntilMs = this.#now() + FED_WITHIN_MS;
  }

  /** @param next the piece that the hash needs next */
  isExpected(next: number): boolean {
    if (!this.#isFollowed) return false;
    if (this.#pieces.has(next) && this.#now() > this.#waitUntilMs) this.#isFollowed = false;
    if (!this.#isFollowed) return false;
    const end = Math.min(next + FED_LAG_PIECES, this.#pieces.count);
    for (let index = next; index < end; index++) if (!this.#pieces.has(index)) return true;
    return false;
  }
}
