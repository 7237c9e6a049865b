import type { FileHandle } from 'node:fs/promises';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf } from '@shoal/swarm';
import { PIECE_HASH_BYTES } from './blob-check.ts';
import { type BlobHandle, StoreError } from './blob-store.ts';
import { readExactly } from './file-bytes.ts';

/** What whoever keeps blobs does for its handles. */
export interface HandleOwner<Entry, Opened> {
  pieceHashes(entry: Entry, opened: Opened): Promise<Uint8Array>;
  /** A read failed: sees to it that the blob is not given out again, and says what went wrong. */
  failed(entry: Entry, error: unknown): Promise<StoreError>;
  release(entry: Entry, opened: Opened): void;
}

/** What a handle tells of its blob. */
interface Told {
  readonly id: BlobId;
  readonly sizeBytes: number;
  readonly mediaType?: string | undefined;
}

/** One reader's view of a blob that is whole. Whose the descriptor under it is, its owner knows. */
export class OpenedBlob<Entry extends Told, Opened extends { readonly file: FileHandle }> implements BlobHandle {
  readonly id: BlobId;
  readonly sizeBytes: number;
  declare readonly mediaType?: string;
  readonly #entry: Entry;
  readonly #opened: Opened;
  readonly #owner: HandleOwner<Entry, Opened>;
  #released = false;

  constructor(entry: Entry, opened: Opened, owner: HandleOwner<Entry, Opened>) {
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
    this.#owner.release(this.#entry, this.#opened);
  }

  #mustBeHeld(): void {
    if (this.#released) throw new StoreError('closed', `${this.id} was released`);
  }
}
