/** Which pieces of one blob somebody holds: a bit per piece, lowest bit first. */
export class PieceMap {
  readonly count: number;
  readonly #bits: Uint8Array;
  #held = 0;

  private constructor(count: number, bits: Uint8Array) {
    this.count = count;
    this.#bits = bits;
  }

  static empty(count: number): PieceMap {
    return new PieceMap(count, new Uint8Array(Math.ceil(count / 8)));
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

  has(index: number): boolean {
    return (((this.#bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
  }

  /** Returns whether the piece was new. Indexes outside the blob are ignored. */
  add(index: number): boolean {
    if (index < 0 || index >= this.count || this.has(index)) return false;
    this.#bits[index >> 3] = (this.#bits[index >> 3] ?? 0) | (1 << (index & 7));
    this.#held++;
    return true;
  }

  remove(index: number): void {
    if (!this.has(index)) return;
    this.#bits[index >> 3] = (this.#bits[index >> 3] ?? 0) & ~(1 << (index & 7));
    this.#held--;
  }

  clone(): PieceMap {
    const copy = new PieceMap(this.count, this.#bits.slice());
    copy.#held = this.#held;
    return copy;
  }

  /** ⌈count / 8⌉ bytes, a copy. */
  toBytes(): Uint8Array {
    return this.#bits.slice();
  }

  /**
   * A piece held that is also in `bits` (a bit per piece, lowest first), looked for from a place on and then from the start.
   * @param place where to begin, as a part of the whole in [0, 1)
   */
  firstCommon(bits: Uint8Array, place: number): number | undefined {
    const { length } = this.#bits;
    const start = Math.floor(place * length);
    for (let step = 0; step < length; step++) {
      const at = start + step < length ? start + step : start + step - length;
      const common = (this.#bits[at] as number) & (bits[at] as number);
      if (common !== 0) return at * 8 + (31 - Math.clz32(common & -common));
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
