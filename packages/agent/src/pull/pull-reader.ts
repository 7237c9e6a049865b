/** Reads a blob that is still arriving, in order, for one client. */
import type { Digest } from '@shoal/oci';
import { pieceSizeOf } from '@shoal/swarm';
import { StoreError } from '../store/blob-store.ts';
import type { BlobPull } from './blob-pull.ts';
import type { BlobReader } from './pulls.ts';

/** One disk read, and so what a slow client can hold in memory. */
const READ_BYTES = 256 * 1024;

export class PullReader implements BlobReader {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | undefined;
  readonly #pull: BlobPull;
  readonly #number: number;
  readonly #passThrough: (start: number, end: number, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly #onClose: () => void;
  #closed = false;

  /** @param passThrough reads from the origin without the store, should the disk fill up on the way */
  constructor(
    pull: BlobPull,
    mediaType: string | undefined,
    passThrough: (start: number, end: number, signal: AbortSignal) => AsyncIterable<Uint8Array>,
    onClose: () => void,
  ) {
    this.digest = pull.digest;
    this.sizeBytes = pull.sizeBytes;
    this.mediaType = mediaType;
    this.#pull = pull;
    this.#number = pull.addReader();
    this.#passThrough = passThrough;
    this.#onClose = onClose;
  }

  async *bytes(start: number, end: number | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = Math.min(end ?? this.sizeBytes, this.sizeBytes);
    const pieceSize = pieceSizeOf(this.sizeBytes);
    let offset = start;
    try {
      if (this.sizeBytes === 0) await this.#pull.waitFor(this.#number, 0, signal);
      while (offset < stop) {
        const index = Math.floor(offset / pieceSize);
        await this.#pull.waitFor(this.#number, index, signal);
        const pieceEnd = Math.min((index + 1) * pieceSize, stop);
        const chunk = await this.#pull.read(offset, Math.min(READ_BYTES, pieceEnd - offset));
        offset += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (!diskIsFull(error)) throw error;
      yield* this.#passThrough(offset, stop, signal);
    }
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
