/**
 * The hash of a whole blob, computed while its pieces land in any order.
 *
 *     hashed │ held, next to be read back │ holes and held pieces beyond
 *     ───────┼────────────────────────────┼──────────────────────────────
 *            └ next
 *
 * A piece that is next in order is hashed from the bytes at hand. When a hole closes, the pieces behind it are read back
 * in chunks, one reader at a time and one chunk in memory, so `digest` has only the tail left to do.
 */
import { createHash, type Hash } from 'node:crypto';
import { type PieceMap, pieceExtent } from '@shoal/swarm';

const CHUNK_BYTES = 1024 * 1024;

export interface RunningHashOptions {
  algorithm: 'sha256' | 'sha512';
  sizeBytes: number;
}

export interface RunningHashDependencies {
  /** Pieces on the disk. */
  pieces: PieceMap;
  /** Fills `into` with the bytes at `offset`; rejects when they are not there. */
  readInto(into: Uint8Array, offset: number): Promise<void>;
}

export class RunningHash {
  readonly #options: RunningHashOptions;
  readonly #dependencies: RunningHashDependencies;
  #hash: Hash;
  #next = 0;
  /** Grows when the state is thrown away, so that a reader under way notices. */
  #generation = 0;
  #stopped = false;
  #catchingUp: Promise<void> | undefined;

  constructor(options: RunningHashOptions, dependencies: RunningHashDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#hash = createHash(options.algorithm);
  }

  /** The first piece that is not in the hash yet. */
  get next(): number {
    return this.#next;
  }

  /** Hashes a piece from memory when it is the next one; returns whether it did. */
  offer(index: number, bytes: Uint8Array): boolean {
    if (index !== this.#next || this.#catchingUp !== undefined || this.#stopped) return false;
    this.#hash.update(bytes);
    this.#next++;
    return true;
  }

  /** Starts over: a piece that was hashed did not reach the disk, so another version of it may come. */
  rewind(): void {
    this.#hash = createHash(this.#options.algorithm);
    this.#next = 0;
    this.#generation++;
  }

  /** Reads back what is held from `next` on. Calls join the reader under way. */
  async catchUp(): Promise<void> {
    if (this.#stopped || !this.#dependencies.pieces.has(this.#next)) return this.#catchingUp;
    this.#catchingUp ??= this.#readBack().finally(() => {
      this.#catchingUp = undefined;
    });
    return this.#catchingUp;
  }

  /** The hexadecimal hash; undefined when a piece is missing. The state is spent after that. */
  async digest(): Promise<string | undefined> {
    while (this.#next < this.#dependencies.pieces.count) {
      if (this.#stopped || !this.#dependencies.pieces.has(this.#next)) return undefined;
      await this.catchUp();
    }
    await this.#catchingUp;
    return this.#hash.digest('hex');
  }

  /** Ends reading back; resolves when no read is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#catchingUp?.catch(() => undefined);
  }

  async #readBack(): Promise<void> {
    const { pieces, readInto } = this.#dependencies;
    const { sizeBytes } = this.#options;
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, sizeBytes)));
    while (!this.#stopped && pieces.has(this.#next)) {
      const generation = this.#generation;
      const { offset, length } = pieceExtent(sizeBytes, this.#next);
      let done = 0;
      while (done < length && !this.#stopped && generation === this.#generation) {
        const chunk = buffer.subarray(0, Math.min(buffer.length, length - done));
        try {
          await readInto(chunk, offset + done);
        } catch (error) {
          // Half a piece may be in the hash; a later attempt must not add its beginning twice.
          this.rewind();
          throw error;
        }
        if (generation !== this.#generation) break;
        this.#hash.update(chunk);
        done += chunk.length;
      }
      if (done === length && generation === this.#generation) this.#next++;
    }
  }
}
