/** Who reads the blob while it comes in, and for how long each has waited for its next piece. */
import type { PieceMap } from './piece-map.ts';

/** How many pieces ahead of each reader go before the rarest ones. */
const READ_AHEAD_PIECES = 2;

export interface Reader {
  /** The piece it waits for. */
  index: number;
  sinceMs: number;
  /** Since when peers offer it; undefined while they do not. */
  offeredAtMs: number | undefined;
}

/** A reader that has waited for its piece too long, and by how much. */
export interface Starving {
  reader: Reader;
  overdueMs: number;
}

export class Readers {
  readonly #readers = new Map<number, Reader>();

  set(reader: number, index: number, nowMs: number): void {
    const known = this.#readers.get(reader);
    if (known === undefined) this.#readers.set(reader, { index, sinceMs: nowMs, offeredAtMs: undefined });
    else if (known.index !== index) Object.assign(known, { index, sinceMs: nowMs, offeredAtMs: undefined });
  }

  delete(reader: number): void {
    this.#readers.delete(reader);
  }

  waitFor(index: number): boolean {
    for (const reader of this.#readers.values()) if (reader.index === index) return true;
    return false;
  }

  /** The first that fits of the first missing pieces ahead of each reader. */
  neededNext(have: PieceMap, fits: (index: number) => boolean): number | undefined {
    for (const reader of this.#readers.values()) {
      const first = have.firstMissing(reader.index);
      const end = Math.min(have.count, first + READ_AHEAD_PIECES);
      for (let index = first; index < end; index++) if (fits(index)) return index;
    }
    return undefined;
  }

  /** To be told often. @param isOffered whether some peer offers the piece */
  noteOffers(isOffered: (index: number) => boolean, nowMs: number): void {
    for (const reader of this.#readers.values()) {
      reader.offeredAtMs = isOffered(reader.index) ? (reader.offeredAtMs ?? nowMs) : undefined;
    }
  }

  /** The first reader that has waited too long for its piece, if any has. */
  starving(have: PieceMap, stallMs: number, nowMs: number): Starving | undefined {
    for (const reader of this.#readers.values()) {
      const overdueMs = nowMs - reader.sinceMs - stallMs;
      if (overdueMs >= 0 && !have.has(reader.index)) return { reader, overdueMs };
    }
    return undefined;
  }
}
