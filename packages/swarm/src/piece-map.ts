/** Which pieces of one blob somebody holds: a bit per piece, lowest bit first, in words of 32. */
export class PieceMap {
  readonly count: number;
  readonly #words: Int32Array;
  #held = 0;

  private constructor(count: number, words: Int32Array) {
    this.count = count;
    this.#words = words;
  }

  static empty(count: number): PieceMap {
    return new PieceMap(count, new Int32Array(Math.ceil(count / 32)));
  }

  static full(count: number): PieceMap {
    const map = PieceMap.empty(count);
    for (let index = 0; index < count; index++) map.add(index);
    return map;
  }

  /** Reads `toBytes` output. Bits beyond `count` are ignored; returns undefined when the length does not fit. */
  static fromBytes(count: number, bytes: Uint8Array): PieceMap | undefined {
    if (bytes.length !== Math.ceil(count / 8)) return undefined;
    const map = PieceMap.empty(count);
    for (let index = 0; index < count; index++) {
      if (((bytes[index >> 3] ?? 0) >> (index & 7)) & 1) map.add(index);
    }
    return map;
  }

  /** Pieces held. */
  get held(): number {
    return this.#held;
  }

  get complete(): boolean {
    return this.#held === this.count;
  }

  /** False for indexes outside the blob. */
  has(index: number): boolean {
    return (((this.#words[index >> 5] ?? 0) >>> (index & 31)) & 1) === 1;
  }

  /** Returns whether the piece was new. Indexes outside the blob are ignored. */
  add(index: number): boolean {
    if (index < 0 || index >= this.count || this.has(index)) return false;
    this.#words[index >> 5] = (this.#words[index >> 5] as number) | (1 << (index & 31));
    this.#held++;
    return true;
  }

  remove(index: number): void {
    if (!this.has(index)) return;
    this.#words[index >> 5] = (this.#words[index >> 5] as number) & ~(1 << (index & 31));
    this.#held--;
  }

  clone(): PieceMap {
    const copy = new PieceMap(this.count, this.#words.slice());
    copy.#held = this.#held;
    return copy;
  }

  /** ⌈count / 8⌉ bytes, a copy. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(Math.ceil(this.count / 8));
    for (let at = 0; at < bytes.length; at++) bytes[at] = (this.#words[at >> 2] as number) >>> (8 * (at & 3));
    return bytes;
  }

  /**
   * A piece held that is also in `words` (a bit per piece, lowest first), looked for from a place on and then from the start.
   * @param place where to begin, as a part of the whole in [0, 1)
   */
  firstCommon(words: Int32Array, place: number): number | undefined {
    const { length } = this.#words;
    const start = Math.floor(place * length);
    for (let step = 0; step < length; step++) {
      const at = start + step < length ? start + step : start + step - length;
      const common = (this.#words[at] as number) & (words[at] as number);
      if (common !== 0) return at * 32 + (31 - Math.clz32(common & -common));
    }
    return undefined;
  }

  /** The first index ≥ `from` that is not held, or `count`. */
  firstMissing(from = 0): number {
    let index = from;
    while (index < this.count && this.has(index)) index++;
    return index;
  }
}
