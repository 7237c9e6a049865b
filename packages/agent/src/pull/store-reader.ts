/** Reads a committed blob for one client, one verified piece in memory at a time. */
import { type Digest, digestOf } from '@shoal/oci';
import { pieceExtent, pieceSizeOf } from '@shoal/swarm';
import type { BlobHandle, BlobStore } from '../store/blob-store.ts';
import type { BlobReader, Keeping } from './pulls.ts';
import { readVerifiedPiece } from './verified-piece.ts';

export interface StoreReaderDependencies {
  store: Pick<BlobStore, 'drop'>;
  onBytes: (bytes: number) => void;
}

export class StoreReader implements BlobReader {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string | undefined;
  readonly keeping: Keeping;
  readonly #handle: BlobHandle;
  readonly #dependencies: StoreReaderDependencies;

  constructor(handle: BlobHandle, dependencies: StoreReaderDependencies) {
    this.digest = digestOf(handle.id);
    this.sizeBytes = handle.sizeBytes;
    this.mediaType = handle.mediaType;
    this.keeping = {
      arrived: async () => {},
      progress: () => ({ heldBytes: handle.sizeBytes, fromPeers: 0, fromOrigin: 0 }),
    };
    this.#handle = handle;
    this.#dependencies = dependencies;
  }

  async *bytes(start: number, end: number | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = Math.min(end ?? this.sizeBytes, this.sizeBytes);
    const memory = Buffer.allocUnsafeSlow(Math.min(pieceSizeOf(this.sizeBytes), this.sizeBytes));
    for (let at = start; at < stop; ) {
      signal.throwIfAborted();
      const index = Math.floor(at / pieceSizeOf(this.sizeBytes));
      const { offset, length } = pieceExtent(this.sizeBytes, index);
      const { bytes } = await readVerifiedPiece(this.#dependencies.store, this.#handle, index, memory);
      const part = bytes.subarray(at - offset, Math.min(length, stop - offset));
      at += part.length;
      this.#dependencies.onBytes(part.length);
      yield part;
    }
  }

  close(): void {
    this.#handle.release();
  }
}
