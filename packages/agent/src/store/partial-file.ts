/**
 * A blob that is arriving: one file, written at each piece's place, and one index record per piece that is on the disk.
 *
 *     open ──commit──► committing ──► committed      reads go on, through the committed blob
 *      │ ▲                 ├─ failed fsync ──► dropped
 *      │ └─ wrong digest ──┘
 *      ├──close──► closed      file and records stay for a later resume
 *      └──drop───► dropped     file and records are gone
 *
 * The order on the disk is: bytes, then record, then `pieces`. A record without its bytes can only come from a power cut,
 * and resuming finds it, because every piece is checked again then.
 */
import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type BlobId, digestAlgorithm, digestHex, digestOf } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent, pieceSizeOf } from '@shoal/swarm';
import { PIECE_HASH_BYTES, sha256 as sha256Of } from './blob-check.ts';
import type { BlobIndex } from './blob-index.ts';
import { type PartialBlob, StoreError } from './blob-store.ts';
import { storeErrorFrom } from './failure.ts';
import { readExactly, writeExactly } from './file-bytes.ts';
import { HashFeeder } from './hash-feeder.ts';
import type { PartialEntry } from './ledger.ts';
import { RunningHash } from './running-hash.ts';

export interface PartialFileOptions {
  id: BlobId;
  sizeBytes: number;
}

/** What the store does for its partials. */
export interface PartialOwner {
  /** Moves the file, fsynced and right, to its committed place and takes over its descriptor. */
  commit(partial: PartialFile, pieceHashes: Uint8Array, mediaType: string | undefined): Promise<void>;
  /** The partial is no longer open; `keep` says whether its file and records stay. The descriptor is closed. */
  leave(partial: PartialFile, keep: boolean): Promise<void>;
  /** Reads the blob after its commit. */
  readCommitted(id: BlobId, offset: number, length: number, memory: Buffer): Promise<Buffer>;
}

export interface PartialFileDependencies {
  file: FileHandle;
  index: BlobIndex;
  entry: PartialEntry;
  owner: PartialOwner;
}

interface KeptPiece {
  sha256: Uint8Array;
  attestation: Uint8Array;
}

type State = 'open' | 'committing' | 'committed' | 'closed' | 'dropped';

export class PartialFile implements PartialBlob {
  readonly id: BlobId;
  readonly sizeBytes: number;
  readonly pieces: PieceMap;
  readonly file: FileHandle;
  readonly entry: PartialEntry;
  readonly #index: BlobIndex;
  readonly #owner: PartialOwner;
  readonly #hash: RunningHash;
  readonly #feeder: HashFeeder;
  readonly #kept = new Map<number, KeptPiece>();
  readonly #writing = new Map<number, Promise<void>>();
  #state: State = 'open';
  #ending: Promise<void> | undefined;

  constructor(options: PartialFileOptions, dependencies: PartialFileDependencies) {
    this.id = options.id;
    this.sizeBytes = options.sizeBytes;
    this.pieces = PieceMap.empty(pieceCountOf(options.sizeBytes));
    this.file = dependencies.file;
    this.entry = dependencies.entry;
    this.#index = dependencies.index;
    this.#owner = dependencies.owner;
    this.#feeder = new HashFeeder(this.pieces, () => performance.now());
    this.#hash = new RunningHash(
      { algorithm: digestAlgorithm(digestOf(options.id)), sizeBytes: options.sizeBytes },
      { pieces: this.pieces, readInto: (into, offset) => readExactly(this.file, into, offset) },
    );
  }

  /** Takes up the pieces that the index has records for, each after checking its bytes; the others are forgotten. */
  async resume(): Promise<void> {
    const records = await this.#index.pieces(this.id, this.pieces.count);
    const wrong: number[] = [];
    for await (const { record, bytes } of this.#readBack(records)) {
      if (bytes === undefined) {
        wrong.push(record.index);
      } else {
        this.#keep(record.index, record.sha256, record.attestation, bytes.length);
        this.#hash.offer(pieceExtent(this.sizeBytes, record.index).offset, bytes);
      }
    }
    await this.#index.deletePieces(this.id, wrong);
  }

  async write(index: number, bytes: Uint8Array, sha256: Uint8Array, attestation: Uint8Array): Promise<void> {
    for (;;) {
      const kept = this.#state === 'committing' || this.#state === 'committed';
      if (kept && this.pieces.has(index)) return;
      this.#mustBeOpen();
      if (this.pieces.has(index)) return;
      const other = this.#writing.get(index);
      if (other === undefined) break;
      await other.catch(() => undefined);
    }
    const { offset, length } = pieceExtent(this.sizeBytes, index);
    if (!Number.isInteger(index) || index < 0 || index >= this.pieces.count || bytes.length !== length) {
      throw new StoreError('io', `piece ${index} of ${this.id} cannot have ${bytes.length} bytes`);
    }
    if (sha256.length !== PIECE_HASH_BYTES) throw new StoreError('io', 'a piece hash has 32 bytes');
    const writing = this.#writePiece(index, bytes, offset, sha256, attestation);
    this.#writing.set(index, writing);
    try {
      await writing;
    } finally {
      this.#writing.delete(index);
    }
  }

  async read(offset: number, length: number, memory = Buffer.allocUnsafeSlow(length)): Promise<Buffer> {
    if (this.#state === 'committed') return this.#owner.readCommitted(this.id, offset, length, memory);
    if (this.#state === 'closed' || this.#state === 'dropped') this.#mustBeOpen();
    this.#mustHold(offset, length);
    const into = memory.subarray(0, length);
    const { generation } = this.#hash;
    try {
      await readExactly(this.file, into, offset);
      this.#hash.offer(offset, into, generation);
      if (this.#hash.at === offset + length) this.#feeder.fed();
    } catch (error) {
      // The descriptor may have been handed over, and closed, under this read.
      if ((this.#state as State) === 'committed') return this.#owner.readCommitted(this.id, offset, length, memory);
      throw error;
    }
    return into;
  }

  hashBefore(offset: number): Hash | undefined {
    return this.#hash.before(offset);
  }

  attestation(index: number): Uint8Array | undefined {
    return this.#kept.get(index)?.attestation;
  }

  pieceHash(index: number): Uint8Array | undefined {
    return this.#kept.get(index)?.sha256;
  }

  async damaged(): Promise<number[]> {
    this.#mustBeOpen();
    const found: number[] = [];
    const records = [...this.#kept].map(([index, { sha256 }]) => ({ index, sha256 }));
    for await (const { record, bytes } of this.#readBack(records)) {
      this.#mustBeOpen();
      if (bytes === undefined && this.#kept.get(record.index)?.sha256 === record.sha256) found.push(record.index);
    }
    return found;
  }

  async forget(indexes: readonly number[]): Promise<void> {
    this.#mustBeOpen();
    const lost = indexes.filter((index) => this.pieces.has(index));
    if (lost.length === 0) return;
    for (const index of lost) {
      this.pieces.remove(index);
      this.#kept.delete(index);
      this.entry.heldBytes -= pieceExtent(this.sizeBytes, index).length;
    }
    this.#hash.rewind();
    // Another version of these pieces may come at once; its record must not be the one that is deleted.
    const forgetting = this.#index.deletePieces(this.id, lost);
    for (const index of lost) this.#writing.set(index, forgetting);
    try {
      await forgetting;
    } finally {
      for (const index of lost) this.#writing.delete(index);
    }
  }

  async commit(options: { mediaType?: string; onVerified?: () => void } = {}): Promise<void> {
    this.#mustBeOpen();
    if (!this.pieces.complete) {
      const missing = this.pieces.count - this.pieces.held;
      throw new StoreError('io', `${this.id} cannot be committed: ${missing} pieces are missing`);
    }
    this.#state = 'committing';
    this.#ending = this.#commit(options);
    return this.#ending;
  }

  async close(): Promise<void> {
    await this.#end('closed');
  }

  async drop(): Promise<void> {
    await this.#end('dropped');
  }

  async #writePiece(
    index: number,
    bytes: Uint8Array,
    offset: number,
    sha256: Uint8Array,
    attestation: Uint8Array,
  ): Promise<void> {
    try {
      await writeExactly(this.file, bytes, offset);
      await this.#index.putPiece(this.id, index, sha256, attestation);
    } catch (error) {
      throw storeErrorFrom(error, `cannot keep piece ${index} of ${this.id}`);
    }
    const { next } = this.#hash;
    this.#keep(index, sha256.slice(), attestation.slice(), bytes.length);
    if (index === next) this.#feeder.arrived();
    if (this.#feeder.isExpected(next)) return;
    this.#hash.offer(offset, bytes);
    // A read that fails here fails again in `commit`, which reports it.
    this.#hash.catchUp().catch(() => undefined);
  }

  /** The bytes of each piece, one after the other in one buffer; undefined where they do not hash to what is on record. */
  async *#readBack<T extends { index: number; sha256: Uint8Array }>(
    records: readonly T[],
  ): AsyncGenerator<{ record: T; bytes: Uint8Array | undefined }> {
    const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(pieceSizeOf(this.sizeBytes), this.sizeBytes)));
    for (const record of records) {
      const { offset, length } = pieceExtent(this.sizeBytes, record.index);
      const bytes = buffer.subarray(0, length);
      const readable = await readExactly(this.file, bytes, offset).then(
        () => true,
        () => false,
      );
      yield { record, bytes: readable && sha256Of(bytes).equals(record.sha256) ? bytes : undefined };
    }
  }

  #keep(index: number, sha256: Uint8Array, attestation: Uint8Array, length: number): void {
    if (!this.pieces.add(index)) return;
    this.#kept.set(index, { sha256, attestation });
    this.entry.heldBytes += length;
  }

  async #commit({ mediaType, onVerified }: { mediaType?: string; onVerified?: () => void }): Promise<void> {
    let hex: string | undefined;
    try {
      hex = await this.#hash.digest();
    } catch (error) {
      await this.#finish('dropped');
      throw error;
    }
    if (hex !== digestHex(digestOf(this.id))) {
      this.#hash.rewind();
      this.#state = 'open';
      throw new StoreError('digest-mismatch', `the bytes of ${this.id} hash to ${hex}`);
    }
    try {
      onVerified?.();
      await this.file.sync();
      await this.#owner.commit(this, this.#pieceHashes(), mediaType);
    } catch (error) {
      // After a failed fsync the system may have thrown the bytes away: they cannot be trusted any more.
      await this.#finish('dropped');
      throw storeErrorFrom(error, `cannot commit ${this.id}`);
    }
    this.#state = 'committed';
  }

  #pieceHashes(): Uint8Array {
    const hashes = Buffer.alloc(this.pieces.count * PIECE_HASH_BYTES);
    for (const [index, kept] of this.#kept) hashes.set(kept.sha256, index * PIECE_HASH_BYTES);
    return hashes;
  }

  async #end(as: 'closed' | 'dropped'): Promise<void> {
    // A commit's failure is its caller's; here it only matters that it is over.
    if (this.#state === 'committing') await this.#ending?.catch(() => undefined);
    if (this.#state === 'open') {
      this.#state = as;
      this.#ending = this.#finish(as);
    }
    await this.#ending?.catch(() => undefined);
  }

  async #finish(as: 'closed' | 'dropped'): Promise<void> {
    this.#state = as;
    await Promise.allSettled(this.#writing.values());
    await this.#hash.stop();
    await this.file.close().catch(() => undefined);
    await this.#owner.leave(this, as === 'closed');
  }

  #mustBeOpen(): void {
    if (this.#state === 'open') return;
    throw new StoreError('closed', `the partial ${this.id} is ${this.#state}`);
  }

  #mustHold(offset: number, length: number): void {
    const end = offset + length;
    const fits = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0;
    let held = fits && end <= this.sizeBytes;
    const pieceBytes = pieceSizeOf(this.sizeBytes);
    for (let index = Math.floor(offset / pieceBytes); held && index * pieceBytes < end; index++) {
      held = this.pieces.has(index);
    }
    if (!held) throw new StoreError('io', `bytes ${offset}-${end} of ${this.id} are not all here`);
  }
}
