/**
 * Which pieces to read again after the whole blob did not match its digest. Somebody who signed some piece lied; one
 * piece of every signer is read before a second of any, as a liar rarely lies about one piece only.
 */
import type { Random } from './random.ts';

export class Audit {
  /** Per signer, the pieces not read yet, in random order. */
  readonly #left: number[][];
  #turn = 0;

  /** @param signers who signed each piece; undefined where this agent read the piece itself */
  constructor(signers: readonly (string | undefined)[], random: Random) {
    const bySigner = new Map<string, number[]>();
    for (const [index, signer] of signers.entries()) {
      if (signer === undefined) continue;
      const pieces = bySigner.get(signer) ?? [];
      pieces.push(index);
      bySigner.set(signer, pieces);
    }
    this.#left = [...bySigner.values()];
    for (const pieces of this.#left) shuffle(pieces, random);
  }

  /** The piece to read and compare next; undefined when all were. */
  next(): number | undefined {
    for (let step = 0; step < this.#left.length; step++) {
      const pieces = this.#left[this.#turn++ % this.#left.length];
      const index = pieces?.pop();
      if (index !== undefined) return index;
    }
    return undefined;
  }
}

function shuffle(values: number[], random: Random): void {
  for (let last = values.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const value = values[last] as number;
    values[last] = values[other] as number;
    values[other] = value;
  }
}
