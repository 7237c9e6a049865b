/** Reads a committed blob for one client. */
import type { Digest } from '@shoal/oci';
import type { BlobHandle } from '../store/blob-store.ts';
import type { BlobReader } from './pulls.ts';

/** One disk read, and so what a slow client can hold in memory. */
export const READ_BYTES: number = 256 * 1024;

export class StoreReader implements BlobReader {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | undefined;
  readonly #handle: BlobHandle;
  readonly #onBytes: (bytes: number) => void;

  constructor(handle: BlobHandle, onBytes: (bytes: number) => void) {
    this.digest = handle.digest;
    this.sizeBytes = handle.sizeBytes;
    this.mediaType = handle.mediaType;
    this.#handle = handle;
    this.#onBytes = onBytes;
  }

  async *bytes(start: number, end: number | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = Math.min(end ?? this.sizeBytes, this.sizeBytes);
    for (let offset = start; offset < stop; ) {
      signal.throwIfAborted();
      const chunk = await this.#handle.read(offset, Math.min(READ_BYTES, stop - offset));
      offset += chunk.length;
      this.#onBytes(chunk.length);
      yield chunk;
    }
  }

  close(): void {
    this.#handle.release();
  }
}
