import type { BlobId } from '@shoal/oci';
import { pieceCountOf } from '@shoal/swarm';
import { PIECE_HASH_BYTES } from './blob-check.ts';
import { type BlobHandle, StoreError } from './blob-store.ts';
import { readExactly } from './file-bytes.ts';
import type { BlobEntry } from './ledger.ts';
import type { OpenFile } from './open-files.ts';

/** What the store does for its handles. */
export interface HandleOwner {
  pieceHashes(entry: BlobEntry, opened: OpenFile): Promise<Uint8Array>;
  /** A read failed: drops the blob, unless the store itself was closed, and says which it was. */
  failed(entry: BlobEntry, error: unknown): Promise<StoreError>;
  release(entry: BlobEntry): void;
}

/** One reader's view of a committed blob; the descriptor under it is shared. */
export class OpenedBlob implements BlobHandle {
  readonly id: BlobId;
  readonly sizeBytes: number;
  declare readonly mediaType?: string;
  readonly #entry: BlobEntry;
  readonly #opened: OpenFile;
  readonly #owner: HandleOwner;
  #released = false;

  constructor(entry: BlobEntry, opened: OpenFile, owner: HandleOwner) {
    this.id = entry.id;
    this.sizeBytes = entry.sizeBytes;
    if (entry.mediaType !== undefined) this.mediaType = entry.mediaType;
    this.#entry = entry;
    this.#opened = opened;
    this.#owner = owner;
  }

  async read(offset: number, length: number, memory = Buffer.allocUnsafeSlow(length)): Promise<Buffer> {
    this.#mustBeHeld();
    if (!(offset >= 0 && length >= 0 && offset + length <= this.sizeBytes)) {
      throw new StoreError('io', `bytes ${offset}-${offset + length} are outside of ${this.id}`);
    }
    const into = memory.subarray(0, length);
    try {
      await readExactly(this.#opened.file, into, offset);
    } catch (error) {
      throw await this.#owner.failed(this.#entry, error);
    }
    return into;
  }

  async pieceHash(index: number): Promise<Uint8Array> {
    this.#mustBeHeld();
    if (!(index >= 0 && index < pieceCountOf(this.sizeBytes))) {
      throw new StoreError('io', `${this.id} has no piece ${index}`);
    }
    const hashes = await this.#owner.pieceHashes(this.#entry, this.#opened);
    return hashes.slice(index * PIECE_HASH_BYTES, (index + 1) * PIECE_HASH_BYTES);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#owner.release(this.#entry);
  }

  #mustBeHeld(): void {
    if (this.#released) throw new StoreError('closed', `${this.id} was released`);
  }
}
