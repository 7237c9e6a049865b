/**
 * The hash of a whole blob, computed while its pieces land in any order.
 *
 *     hashed │ held, next to be hashed │ holes and held pieces beyond
 *     ───────┼─────────────────────────┼──────────────────────────────
 *            └ at
 *
 * Whatever is next in order is hashed from the bytes at hand: a piece as it is written, or what was read for somebody else. What
 * nobody reads is read back in chunks, one reader at a time and one chunk in memory, so `digest` has only the tail left to do.
 */
import { createHash, type Hash } from 'node:crypto';
import { type PieceMap, pieceSizeOf } from '@shoal/swarm';

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
  /** Bytes hashed. */
  #at = 0;
  /** Grows when the state is thrown away, so that a reader under way notices. */
  #generation = 0;
  #stopped = false;
  #catchingUp: Promise<void> | undefined;

  constructor(options: RunningHashOptions, dependencies: RunningHashDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#hash = createHash(options.algorithm);
  }

  /** How many bytes of the blob are in it. */
  get at(): number {
    return this.#at;
  }

  /** The first piece that is not wholly in the hash yet; the count when all are. */
  get next(): number {
    const { sizeBytes } = this.#options;
    return this.#at < sizeBytes ? Math.floor(this.#at / pieceSizeOf(sizeBytes)) : this.#dependencies.pieces.count;
  }

  /** To be asked before bytes are read that are to be offered. */
  get generation(): number {
    return this.#generation;
  }

  /** Hashes these bytes of the blob when they are the next ones; returns whether it did. @param generation of when they were read */
  offer(offset: number, bytes: Uint8Array, generation: number = this.#generation): boolean {
    if (offset !== this.#at || generation !== this.#generation || bytes.length === 0) return false;
    if (this.#catchingUp !== undefined || this.#stopped) return false;
    this.#hash.update(bytes);
    this.#at += bytes.length;
    return true;
  }

  /** What was hashed, when that is just the bytes before `offset` and not the whole blob, whose state is spent. */
  before(offset: number): Hash | undefined {
    return offset === this.#at && offset < this.#options.sizeBytes ? this.#hash.copy() : undefined;
  }

  /** Starts over: of a piece that was hashed another version may come. */
  rewind(): void {
    this.#hash = createHash(this.#options.algorithm);
    this.#at = 0;
    this.#generation++;
  }

  /** Reads back what is held from `next` on. Calls join the reader under way. */
  async catchUp(): Promise<void> {
    if (this.#stopped || !this.#isHeld()) return this.#catchingUp;
    this.#catchingUp ??= this.#readBack().finally(() => {
      this.#catchingUp = undefined;
    });
    return this.#catchingUp;
  }

  /** The hexadecimal hash; undefined when a piece is missing. The state is spent after that. */
  async digest(): Promise<string | undefined> {
    while (this.#at < this.#options.sizeBytes) {
      if (this.#stopped || !this.#isHeld()) return undefined;
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

  /** Whether what comes next is on the disk. */
  #isHeld(): boolean {
    const { sizeBytes } = this.#options;
    return this.#at < sizeBytes && this.#dependencies.pieces.has(Math.floor(this.#at / pieceSizeOf(sizeBytes)));
  }

  async #readBack(): Promise<void> {
    const { readInto } = this.#dependencies;
    const { sizeBytes } = this.#options;
    const pieceBytes = pieceSizeOf(sizeBytes);
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, sizeBytes)));
    while (!this.#stopped && this.#isHeld()) {
      const generation = this.#generation;
      const pieceEnd = Math.min(sizeBytes, (Math.floor(this.#at / pieceBytes) + 1) * pieceBytes);
      const chunk = buffer.subarray(0, Math.min(buffer.length, pieceEnd - this.#at));
      await readInto(chunk, this.#at);
      if (this.#stopped || generation !== this.#generation) continue;
      this.#hash.update(chunk);
      this.#at += chunk.length;
    }
  }
}
