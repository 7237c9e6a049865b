/** Reads a blob that is still arriving, in order, for one client. */
import { createHash, type Hash } from 'node:crypto';
import { type Digest, digestAlgorithm, digestOf } from '@shoal/oci';
import { pieceSizeOf } from '@shoal/swarm';
import { StoreError } from '../store/blob-store.ts';
import type { BlobPull } from './blob-pull.ts';
import type { PassedRange } from './pass-through.ts';
import { PullError } from './pull-error.ts';
import type { BlobReader, Keeping } from './pulls.ts';

/** One disk read, and so what a slow client can hold in memory. */
const READ_BYTES = 256 * 1024;

export class PullReader implements BlobReader {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | undefined;
  readonly keeping: Keeping;
  readonly #pull: BlobPull;
  readonly #number: number;
  readonly #passThrough: (range: PassedRange, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly #onClose: () => void;
  /** The pieces of which bytes were given out, the first and the last one. */
  #given: { first: number; last: number } | undefined;
  /** Grows when pieces are taken back. */
  #losses = 0;
  readonly #cut = new AbortController();
  #closed = false;

  /** @param passThrough reads from the origin without the store, should the disk fill up on the way */
  constructor(
    pull: BlobPull,
    mediaType: string | undefined,
    passThrough: (range: PassedRange, signal: AbortSignal) => AsyncIterable<Uint8Array>,
    onClose: () => void,
  ) {
    this.digest = digestOf(pull.blob);
    this.sizeBytes = pull.sizeBytes;
    this.mediaType = mediaType;
    this.#pull = pull;
    this.keeping = {
      arrived: (signal) => pull.arrived(signal),
      progress: () => ({ heldBytes: pull.progress().heldBytes, ...pull.received }),
    };
    this.#number = pull.addReader({ has: (index) => this.#has(index), lose: (indexes) => this.#lose(indexes) });
    this.#passThrough = passThrough;
    this.#onClose = onClose;
  }

  async *bytes(start: number, end: number | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = Math.min(end ?? this.sizeBytes, this.sizeBytes);
    const pieceSize = pieceSizeOf(this.sizeBytes);
    // Should the rest have to pass by the store, the whole must still be checked before its last bytes.
    const isWhole = start === 0 && stop === this.sizeBytes;
    let hash = isWhole ? createHash(digestAlgorithm(this.digest)) : undefined;
    const ended = AbortSignal.any([signal, this.#cut.signal]);
    const memory = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(0, stop - start)));
    let offset = start;
    try {
      if (this.sizeBytes === 0) await this.#pull.waitFor(this.#number, 0, ended);
      while (offset < stop) {
        ended.throwIfAborted();
        const index = Math.floor(offset / pieceSize);
        await this.#pull.waitFor(this.#number, index, ended);
        const pieceEnd = Math.min((index + 1) * pieceSize, stop);
        const chunk = await this.#readUnlessLost(offset, Math.min(READ_BYTES, pieceEnd - offset), memory);
        if (chunk === undefined) continue;
        this.#given = { first: Math.min(this.#given?.first ?? index, index), last: index };
        offset += chunk.length;
        if (hash !== undefined) hash = this.#hashAfter(offset, chunk, hash);
        yield chunk;
      }
    } catch (error) {
      if (!diskIsFull(error)) throw error;
      yield* this.#passThrough({ start: offset, end: stop, hash }, signal);
    }
  }

  /** Most readers are where the blob's own hash is, and need not compute one of their own. */
  #hashAfter(offset: number, chunk: Uint8Array, before: Hash): Hash {
    return this.#pull.hashBefore(offset) ?? before.update(chunk);
  }

  /** Undefined when pieces were taken back meanwhile: these bytes may be of one of them. */
  async #readUnlessLost(offset: number, length: number, memory: Buffer): Promise<Buffer | undefined> {
    const losses = this.#losses;
    try {
      const bytes = await this.#pull.read(offset, length, memory);
      return losses === this.#losses ? bytes : undefined;
    } catch (error) {
      if (losses === this.#losses) throw error;
      return undefined;
    }
  }

  #has(index: number): boolean {
    return this.#given !== undefined && this.#given.first <= index && index <= this.#given.last;
  }

  /** A client that was given bytes of a wrong piece must not take what follows for the rest of the blob. */
  #lose(indexes: readonly number[]): void {
    this.#losses++;
    if (!indexes.some((index) => this.#has(index))) return;
    this.#cut.abort(new PullError('mismatch', `${this.digest}: pieces that were sent turned out to be wrong`));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pull.readerGone(this.#number);
    this.#onClose();
  }
}

function diskIsFull(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof StoreError ? error.cause : error;
  return cause instanceof StoreError && cause.code === 'disk-full';
}
