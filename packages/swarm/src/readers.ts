/** Who reads the blob while it comes in, and for how long each has waited for its next piece. */
import type { PieceMap } from './piece-map.ts';

export interface Reader {
  /** The piece it waits for. */
  index: number;
  sinceMs: number;
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

  /** The piece some reader has waited for too long, if any. */
  starving(have: PieceMap, stallMs: number, nowMs: number): number | undefined {
    for (const { index, sinceMs } of this.#readers.values()) {
      if (nowMs - sinceMs >= stallMs && !have.has(index)) return index;
    }
    return undefined;
  }
}
