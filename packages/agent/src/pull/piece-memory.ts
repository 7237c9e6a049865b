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
  readonly #limitBytes: number;
  /** Given back, to be lent out again while anything is on its way. */
  readonly #spare: Buffer[] = [];
  readonly #queue: { bytes: number; grant: () => void }[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#freeBytes = limitBytes;
  }

  /** More than the whole memory counts as the whole memory. @throws the signal's reason, when it fires first */
  async borrow(bytes: number, signal: AbortSignal): Promise<LentMemory> {
    signal.throwIfAborted();
    const charged = Math.min(bytes, this.#limitBytes);
    if (this.#queue.length > 0 || charged > this.#freeBytes) await this.#wait(charged, signal);
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
    while (spareBytes > this.#freeBytes) spareBytes -= (this.#spare.shift() as Buffer).length;
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = {
        bytes,
        grant: (): void => {
          signal.removeEventListener('abort', onAbort);
          this.#freeBytes -= bytes;
          resolve();
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
