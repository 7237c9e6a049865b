import type { FileHandle } from 'node:fs/promises';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf } from '@shoal/swarm';
import { PIECE_HASH_BYTES } from '../store/blob-check.ts';
import { type BlobHandle, type BlobRecord, StoreError } from '../store/blob-store.ts';
import { readExactly } from '../store/file-bytes.ts';

/**
 * One reader's view of a blob in containerd's store. When containerd collects it meanwhile, what is open is still whole; when
 * it cannot be read any more, the read fails and the blob is withdrawn.
 */
export class ContentHandle implements BlobHandle {
  readonly id: BlobId;
  readonly sizeBytes: number;
  readonly #file: FileHandle;
  readonly #pieceHashes: Uint8Array;
  readonly #onUnreadable: () => void;
  #released = false;

  constructor(record: BlobRecord, file: FileHandle, pieceHashes: Uint8Array, onUnreadable: () => void) {
    this.id = record.id;
    this.sizeBytes = record.sizeBytes;
    this.#file = file;
    this.#pieceHashes = pieceHashes;
    this.#onUnreadable = onUnreadable;
  }

  async read(offset: number, length: number, memory = Buffer.allocUnsafeSlow(length)): Promise<Buffer> {
    if (this.#released) throw new StoreError('closed', `${this.id} was released`);
    if (!(offset >= 0 && length >= 0 && offset + length <= this.sizeBytes)) {
      throw new StoreError('io', `bytes ${offset}-${offset + length} are outside of ${this.id}`);
    }
    const into = memory.subarray(0, length);
    try {
      await readExactly(this.#file, into, offset);
    } catch (error) {
      this.#onUnreadable();
      throw error;
    }
    return into;
  }

  async pieceHash(index: number): Promise<Uint8Array> {
    if (!(index >= 0 && index < pieceCountOf(this.sizeBytes))) {
      throw new StoreError('io', `${this.id} has no piece ${index}`);
    }
    return this.#pieceHashes.slice(index * PIECE_HASH_BYTES, (index + 1) * PIECE_HASH_BYTES);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    // Nothing was written to it that closing could lose.
    this.#file.close().catch(() => undefined);
  }
}
