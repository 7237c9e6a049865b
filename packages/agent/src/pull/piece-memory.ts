/**
 * The memory that pieces on their way take, over all pulls: bounded, lent out first come, first served, and lent out
 * again. Buffers of a mebibyte that are left to the garbage collector stand about by the dozen until it runs.
 */
export interface LentMemory {
  /** What was in it before may still be. */
  readonly bytes: Buffer;
  /** To be called once; `bytes` is not touched after it. */
  giveBack(): void;
}

export class PieceMemory {
  #freeBytes: number;
  #limitBytes: number;
  /** Given back, to be lent out again while anything is on its way. */
  readonly #spare: Buffer[] = [];
  readonly #queue: { bytes: number; grant: () => void }[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#freeBytes = limitBytes;
  }

  /** Requests for memory that wait. */
  get waiting(): number {
    return this.#queue.length;
  }

  get lentBytes(): number {
    return this.#limitBytes - this.#freeBytes;
  }

  /** What is lent beyond a smaller limit comes back in its own time. */
  resize(limitBytes: number): void {
    this.#freeBytes += limitBytes - this.#limitBytes;
    this.#limitBytes = limitBytes;
    for (const entry of this.#queue) entry.bytes = Math.min(entry.bytes, limitBytes);
    this.#grantNext();
    this.#letGo();
  }

  /** More than the whole memory counts as the whole memory. @throws the signal's reason, when it fires first */
  async borrow(bytes: number, signal: AbortSignal): Promise<LentMemory> {
    signal.throwIfAborted();
    let charged = Math.min(bytes, this.#limitBytes);
    if (this.#queue.length > 0 || charged > this.#freeBytes) charged = await this.#wait(charged, signal);
    else this.#freeBytes -= charged;
    const buffer = this.#spareOf(bytes) ?? Buffer.allocUnsafeSlow(bytes);
    this.#letGo();
    return {
      bytes: buffer,
      giveBack: () => {
        this.#freeBytes += charged;
        this.#spare.push(buffer);
        this.#grantNext();
        this.#letGo();
      },
    };
  }

  #spareOf(bytes: number): Buffer | undefined {
    const at = this.#spare.findLastIndex(({ length }) => length === bytes);
    return at < 0 ? undefined : this.#spare.splice(at, 1)[0];
  }

  /** Spare buffers count, and an idle agent keeps none. */
  #letGo(): void {
    if (this.#freeBytes === this.#limitBytes) this.#spare.length = 0;
    let spareBytes = this.#spare.reduce((sum, { length }) => sum + length, 0);
    while (spareBytes > Math.max(0, this.#freeBytes)) spareBytes -= (this.#spare.shift() as Buffer).length;
  }

  /** Resolves to what was charged. */
  #wait(bytes: number, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const entry = {
        bytes,
        grant: (): void => {
          signal.removeEventListener('abort', onAbort);
          this.#freeBytes -= entry.bytes;
          resolve(entry.bytes);
        },
      };
      const onAbort = (): void => {
        this.#queue.splice(this.#queue.indexOf(entry), 1);
        reject(signal.reason);
        this.#grantNext();
      };
      this.#queue.push(entry);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #grantNext(): void {
    for (let next = this.#queue[0]; next !== undefined && next.bytes <= this.#freeBytes; next = this.#queue[0]) {
      this.#queue.shift();
      next.grant();
    }
  }
}
