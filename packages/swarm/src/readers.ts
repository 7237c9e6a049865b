/** Who reads the blob while it comes in, and for how long each has waited for its next piece. */
import type { PieceMap } from './piece-map.ts';

export interface Reader {
  /** The piece it waits for. */
  index: number;
  sinceMs: number;
}

/** A piece that some reader has waited for too long, and by how much. */
export interface Starving {
  index: number;
  overdueMs: number;
}

export class Readers {
  readonly #readers = new Map<number, Reader>();

  set(reader: number, index: number, nowMs: number): void {
    const known = this.#readers.get(reader);
    if (known === undefined) this.#readers.set(reader, { index, sinceMs: nowMs });
    else if (known.index !== index) [known.index, known.sinceMs] = [index, nowMs];
  }

  delete(reader: number): void {
    this.#readers.delete(reader);
  }

  all(): Iterable<Readonly<Reader>> {
    return this.#readers.values();
  }

  /** The first reader that has waited too long for its piece, if any has. */
  starving(have: PieceMap, stallMs: number, nowMs: number): Starving | undefined {
    for (const { index, sinceMs } of this.#readers.values()) {
      const overdueMs = nowMs - sinceMs - stallMs;
      if (overdueMs >= 0 && !have.has(index)) return { index, overdueMs };
    }
    return undefined;
  }
}
