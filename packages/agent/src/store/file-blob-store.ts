/**
 * The store on a disk. Memory (`Ledger`) says what is here, files hold the bytes, the index survives the process.
 *
 *     open ──────► OpenFiles ─► one shared descriptor per blob
 *     partial ───► Space (evict, reserve) ─► PartialFile ─► commit: hash, fsync, rename, fsync folder, index
 *     put ───────► hash, Space, temporary file, and the same end
 *
 * Every step of a commit may be the last one before a crash; `recover.ts` says what the next start makes of it. Commits,
 * drops and openings of partials take turns per blob; evictions take turns among themselves (`Space`).
 */
import { constants } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { type BlobId, digestOf } from '@shoal/oci';
import { pieceCountOf } from '@shoal/swarm';
import type { Logger } from 'pino';
import { checkBlob, checkBytes } from './blob-check.ts';
import type { BlobIndex, BlobMeta } from './blob-index.ts';
import {
  type BlobHandle,
  type BlobRecord,
  type BlobStore,
  type KeptBlob,
  type PartialBlob,
  type RemovalReason,
  type Shed,
  type Shedding,
  StoreError,
  type VerifyOptions,
} from './blob-store.ts';
import { hasCode, storeErrorFrom } from './failure.ts';
import { writeExactly } from './file-bytes.ts';
import { FILE_MODE, removeFile, type StoreLayout, syncFolder } from './layout.ts';
import { type BlobEntry, type Evictable, type Ledger, type PartialEntry, recordOf } from './ledger.ts';
import { type OpenFile, OpenFiles } from './open-files.ts';
import { type HandleOwner, OpenedBlob } from './opened-blob.ts';
import { PartialFile, type PartialOwner } from './partial-file.ts';
import { type Pins, pinnedLimitBytes } from './pins.ts';
import { Space, type SpaceOptions } from './space.ts';
import { Turns } from './turns.ts';
import { verifyFile } from './verify.ts';

/** A use is written to the index when the one it knows is older than this. */
const COARSE_USE_MS = 60_000;

export interface FileBlobStoreDependencies {
  layout: StoreLayout;
  index: BlobIndex;
  ledger: Ledger;
  logger: Logger;
  pins: Pins;
  clock: () => number;
  diskFree: () => Promise<number>;
  /** A committed blob is no longer found. Called before its file goes. */
  onEvicted?: ((blob: BlobRecord, reason: RemovalReason) => void) | undefined;
}

export class FileBlobStore implements BlobStore {
  readonly notes: BlobStore['notes'];
  readonly pins: BlobStore['pins'];
  #options: SpaceOptions;
  readonly #dependencies: FileBlobStoreDependencies;
  readonly #ledger: Ledger;
  readonly #index: BlobIndex;
  readonly #layout: StoreLayout;
  readonly #files: OpenFiles;
  readonly #space: Space;
  readonly #turns = new Turns();
  readonly #partials = new Set<PartialFile>();
  #temporaries = 0;
  #closing: Promise<void> | undefined;

  constructor(options: SpaceOptions, dependencies: FileBlobStoreDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#ledger = dependencies.ledger;
    this.#index = dependencies.index;
    this.#layout = dependencies.layout;
    this.#files = new OpenFiles(dependencies.ledger);
    this.#space = new Space(options, {
      ledger: dependencies.ledger,
      pins: dependencies.pins,
      diskFree: dependencies.diskFree,
      evict: (victim, reason) => this.#evict(victim, reason),
    });
    this.pins = dependencies.pins;
    this.notes = this.#openNotes();
  }

  async find(id: BlobId): Promise<BlobRecord | undefined> {
    this.#mustBeOpen();
    const entry = this.#ledger.blob(id);
    return entry === undefined ? undefined : recordOf(entry);
  }

  async open(id: BlobId, { isUse = true }: { isUse?: boolean } = {}): Promise<BlobHandle | undefined> {
    this.#mustBeOpen();
    const entry = this.#ledger.blob(id);
    if (entry === undefined) return undefined;
    let opened: OpenFile;
    try {
      opened = await this.#files.acquire(entry, this.#layout.blob(id));
    } catch (error) {
      if (hasCode(error, 'EMFILE') || hasCode(error, 'ENFILE')) throw storeErrorFrom(error, `cannot open ${id}`);
      await this.#dropDamaged(entry, error);
      return undefined;
    }
    if (isUse) this.#touch(entry);
    return new OpenedBlob(entry, opened, this.#handleOwner);
  }

  async partial(id: BlobId, sizeBytes: number): Promise<PartialBlob> {
    this.#mustBeOpen();
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw new StoreError('io', `${sizeBytes} is not a size`);
    return this.#turns.run(id, async () => {
      this.#mustBeOpen();
      await this.#ledger.partial(id)?.leaving;
      const before = this.#ledger.partial(id);
      if (before?.open) throw new StoreError('io', `the partial ${id} is open already`);
      if (before !== undefined && before.sizeBytes !== sizeBytes) await this.#removePartial(before);
      const heldBytes = this.#ledger.partial(id)?.heldBytes ?? 0;
      const entry = await this.#space.reserve(sizeBytes - heldBytes, () => this.#startPartial(id, sizeBytes), id);
      return this.#openPartial(entry);
    });
  }

  async put(id: BlobId, bytes: Uint8Array, mediaType?: string): Promise<void> {
    this.#mustBeOpen();
    const pieceHashes = checkBytes(bytes, digestOf(id));
    if (pieceHashes === undefined) throw new StoreError('digest-mismatch', `these bytes do not hash to ${id}`);
    await this.#turns.run(id, async () => {
      this.#mustBeOpen();
      const here = this.#ledger.blob(id);
      if (here !== undefined) {
        this.#touch(here);
        if (mediaType !== undefined) await this.#rename(here, mediaType);
        return;
      }
      const stale = this.#ledger.partial(id);
      if (stale !== undefined && !stale.open) await this.#removePartial(stale);
      await this.#space.reserve(bytes.length, () => this.#ledger.speakFor(bytes.length));
      try {
        await this.#writeWhole(id, bytes);
        const record =
          mediaType === undefined ? { id, sizeBytes: bytes.length } : { id, sizeBytes: bytes.length, mediaType };
        await this.#settle(record, pieceHashes, 0);
      } finally {
        this.#ledger.speakFor(-bytes.length);
      }
    });
  }

  async drop(id: BlobId, reason: RemovalReason = 'damaged'): Promise<void> {
    this.#mustBeOpen();
    await this.#turns.run(id, async () => {
      const entry = this.#ledger.blob(id);
      if (entry !== undefined) await this.#removeBlob(entry, reason);
    });
  }

  async *list(): AsyncGenerator<BlobRecord> {
    this.#mustBeOpen();
    for (const entry of [...this.#ledger.blobs()]) if (!entry.gone) yield recordOf(entry);
  }

  kept(): KeptBlob[] {
    this.#mustBeOpen();
    return [...this.#ledger.blobs()].map((entry) => this.#keptOf(entry));
  }

  async shed(shedding: Shedding, reason: RemovalReason): Promise<Shed> {
    this.#mustBeOpen();
    const victims = await this.#space.shed(shedding, reason);
    const blobs = victims.flatMap((victim) => (victim.kind === 'blob' ? [this.#keptOf(victim.entry)] : []));
    const bytes = victims.reduce((sum, victim) => sum + victim.bytes, 0);
    return { blobs, partials: victims.length - blobs.length, bytes };
  }

  async verify(id: BlobId, options: VerifyOptions): Promise<'whole' | 'damaged' | undefined> {
    this.#mustBeOpen();
    const entry = this.#ledger.blob(id);
    if (entry === undefined) return undefined;
    this.#ledger.use(entry);
    try {
      await verifyFile(entry, this.#layout.blob(id), options);
      return 'whole';
    } catch (error) {
      options.signal.throwIfAborted();
      if (hasCode(error, 'EMFILE') || hasCode(error, 'ENFILE')) throw storeErrorFrom(error, `cannot open ${id}`);
      if (entry.gone || this.#closing !== undefined) return undefined;
      await this.#dropDamaged(entry, error);
      return 'damaged';
    } finally {
      this.#files.release(entry);
    }
  }

  #keptOf(entry: BlobEntry): KeptBlob {
    const { id, usedAt, users } = entry;
    return { ...recordOf(entry), usedAtMs: usedAt, isPinned: this.pins.has(id), isInUse: users > 0 };
  }

  usage(): { bytes: number; blobs: number; quotaBytes: number } {
    return { bytes: this.#ledger.bytes, blobs: this.#ledger.blobCount, quotaBytes: this.#options.quotaBytes };
  }

  /** Evicts what is over the quota or under the floor, as after a start with a smaller quota. */
  async trim(): Promise<void> {
    await this.#space.reserve(0, () => undefined);
  }

  /** Takes other limits; what is over them goes at once. @throws StoreError disk-full; the limits hold nevertheless */
  async resize(limits: Pick<SpaceOptions, 'quotaBytes' | 'minFreeDiskBytes'>): Promise<void> {
    this.#mustBeOpen();
    this.#options = { ...this.#options, ...limits };
    this.#space.resize(this.#options);
    await this.#dependencies.pins.resize(pinnedLimitBytes(this.#options));
    await this.trim();
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#turns.idle();
    await Promise.all([...this.#partials].map((partial) => partial.close()));
    await this.#turns.idle();
    const uses: [BlobId, BlobMeta][] = [];
    for (const entry of this.#ledger.blobs()) {
      if (entry.usedAt !== entry.savedUseAt) uses.push([entry.id, metaOf(entry)]);
    }
    await this.#index.saveMetas(uses).catch((error: unknown) => this.#complain(error, 'the last uses were not saved'));
    await this.#files.close();
    await this.#index.close();
  }

  readonly #handleOwner: HandleOwner<BlobEntry, OpenFile> = {
    pieceHashes: (entry, opened) => {
      opened.pieceHashes ??= this.#pieceHashes(entry, opened).catch((error: unknown) => {
        opened.pieceHashes = undefined;
        throw error;
      });
      return opened.pieceHashes;
    },
    failed: async (entry, error) => {
      if (this.#closing !== undefined) return new StoreError('closed', 'the store is closed', { cause: error });
      await this.#dropDamaged(entry, error);
      return storeErrorFrom(error, `${entry.id} is damaged and was dropped`);
    },
    release: (entry) => this.#files.release(entry),
  };

  readonly #partialOwner: PartialOwner = {
    commit: (partial, pieceHashes, mediaType) =>
      this.#turns.run(partial.id, async () => {
        const { id, sizeBytes, entry } = partial;
        await this.#moveIn(this.#layout.partial(id), id);
        const known = mediaType ?? this.#ledger.blob(id)?.mediaType;
        const record = known === undefined ? { id, sizeBytes } : { id, sizeBytes, mediaType: known };
        const blob = await this.#settle(record, pieceHashes, partial.pieces.count);
        this.#ledger.removePartial(entry);
        this.#partials.delete(partial);
        this.#files.adopt(blob, partial.file);
      }),
    leave: async (partial, keep) => {
      this.#partials.delete(partial);
      await this.#leavePartial(partial.entry, keep);
    },
    readCommitted: async (id, offset, length, memory) => {
      const blob = await this.open(id);
      if (blob === undefined) throw new StoreError('closed', `${id} was committed and is gone since`);
      try {
        return await blob.read(offset, length, memory);
      } finally {
        blob.release();
      }
    },
  };

  #startPartial(id: BlobId, sizeBytes: number): PartialEntry {
    const usedAt = this.#dependencies.clock();
    const entry =
      this.#ledger.partial(id) ?? this.#ledger.addPartial({ id, sizeBytes, heldBytes: 0, usedAt, open: true });
    entry.open = true;
    entry.usedAt = usedAt;
    return entry;
  }

  async #openPartial(entry: PartialEntry): Promise<PartialFile> {
    const { id, sizeBytes, usedAt } = entry;
    let file: FileHandle | undefined;
    try {
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
      file = await open(this.#layout.partial(id), flags, FILE_MODE);
      await this.#index.putPartial(id, { sizeBytes, usedAt });
      // Counted again while its pieces are checked.
      entry.heldBytes = 0;
      const owner = this.#partialOwner;
      const partial = new PartialFile({ id, sizeBytes }, { file, index: this.#index, entry, owner });
      await partial.resume();
      this.#partials.add(partial);
      return partial;
    } catch (error) {
      await file?.close();
      await this.#leavePartial(entry, true);
      throw storeErrorFrom(error, `cannot open the partial ${id}`);
    }
  }

  /** An open partial with nothing in it is not worth a resume. */
  async #leavePartial(entry: PartialEntry, keep: boolean): Promise<void> {
    if (!keep || entry.heldBytes === 0) {
      await this.#removePartial(entry);
      return;
    }
    entry.usedAt = this.#dependencies.clock();
    entry.open = false;
  }

  /** The entry stays until the files are gone, so that a new partial cannot lose its file to this removal. */
  #removePartial(entry: PartialEntry): Promise<void> {
    entry.leaving ??= this.#erasePartial(entry).finally(() => this.#ledger.removePartial(entry));
    return entry.leaving;
  }

  async #erasePartial({ id }: PartialEntry): Promise<void> {
    try {
      await removeFile(this.#layout.partial(id));
      await this.#index.deletePartial(id);
    } catch (error) {
      this.#complain(error, 'a partial was not removed cleanly; the next start will');
    }
  }

  async #writeWhole(id: BlobId, bytes: Uint8Array): Promise<void> {
    const path = `${this.#layout.partial(id)}.put-${this.#temporaries++}`;
    try {
      const file = await open(path, 'wx', FILE_MODE);
      try {
        await writeExactly(file, bytes, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#moveIn(path, id);
    } catch (error) {
      await removeFile(path).catch((left: unknown) => this.#complain(left, 'a temporary file is left'));
      throw storeErrorFrom(error, `cannot keep ${id}`);
    }
  }

  async #moveIn(from: string, id: BlobId): Promise<void> {
    await rename(from, this.#layout.blob(id));
    await syncFolder(this.#layout.blobFolder(id));
  }

  /** The file is in its place: records it. Without the index the blob is just as committed, only slower to reopen. */
  async #settle(record: BlobRecord, pieceHashes: Uint8Array, fromPieces: number): Promise<BlobEntry> {
    const { id, sizeBytes, mediaType } = record;
    const usedAt = this.#dependencies.clock();
    await this.#index
      .putBlob(id, { sizeBytes, usedAt, mediaType }, pieceHashes, fromPieces)
      .catch((error: unknown) => this.#complain(error, 'a blob is not in the index; the next start hashes it again'));
    const before = this.#ledger.blob(id);
    const entry = this.#ledger.addBlob(record, usedAt);
    if (before?.users === 0) this.#files.forget(before);
    return entry;
  }

  async #rename(entry: BlobEntry, mediaType: string): Promise<void> {
    if (entry.mediaType === mediaType) return;
    entry.mediaType = mediaType;
    await this.#index.saveMetas([[entry.id, metaOf(entry)]]);
  }

  async #pieceHashes(entry: BlobEntry, opened: OpenFile): Promise<Uint8Array> {
    const { id, sizeBytes } = entry;
    const known = await this.#index.pieceHashes(id, pieceCountOf(sizeBytes));
    if (known !== undefined) return known;
    try {
      const hashes = await checkBlob(opened.file, digestOf(id), sizeBytes);
      if (hashes === undefined) throw new StoreError('io', `${id} does not hash to its name`);
      await this.#index
        .putBlob(id, metaOf(entry), hashes)
        .catch((error: unknown) => this.#complain(error, 'piece hashes were not saved'));
      return hashes;
    } catch (error) {
      throw await this.#handleOwner.failed(entry, error);
    }
  }

  #touch(entry: BlobEntry): void {
    const now = this.#dependencies.clock();
    this.#ledger.touch(entry, now);
    if (now - entry.savedUseAt < COARSE_USE_MS) return;
    entry.savedUseAt = now;
    this.#index
      .saveMetas([[entry.id, metaOf(entry)]])
      .catch((error: unknown) => this.#complain(error, 'a use was not saved'));
  }

  async #dropDamaged(entry: BlobEntry, error: unknown): Promise<void> {
    if (entry.gone || this.#closing !== undefined) return;
    this.#dependencies.logger.warn({ err: error, blob: entry.id }, 'dropped a damaged blob');
    // Not findable from this moment, whoever else has a turn with this id.
    this.#withdraw(entry, 'damaged');
    await this.#turns.run(entry.id, async () => {
      if (this.#ledger.blob(entry.id) === undefined) await this.#erase(entry);
    });
  }

  #evict(victim: Evictable, reason: RemovalReason): Promise<void> {
    if (victim.kind === 'partial') return this.#removePartial(victim.entry);
    this.#dependencies.logger.debug({ blob: victim.entry.id, sizeBytes: victim.bytes, reason }, 'evicted a blob');
    return this.#removeBlob(victim.entry, reason);
  }

  async #removeBlob(entry: BlobEntry, reason: RemovalReason): Promise<void> {
    this.#withdraw(entry, reason);
    await this.#erase(entry);
  }

  #withdraw(entry: BlobEntry, reason: RemovalReason): void {
    this.#ledger.removeBlob(entry);
    if (entry.users === 0) this.#files.forget(entry);
    this.#dependencies.onEvicted?.(recordOf(entry), reason);
  }

  /** Readers keep what they have open: the bytes go when the last descriptor does. */
  async #erase(entry: BlobEntry): Promise<void> {
    try {
      await removeFile(this.#layout.blob(entry.id));
      await this.#index.deleteBlob(entry.id);
    } catch (error) {
      this.#complain(error, 'a blob was not removed cleanly; the next start will');
    }
  }

  #complain(error: unknown, what: string): void {
    this.#dependencies.logger.warn({ err: error }, what);
  }

  #openNotes(): BlobStore['notes'] {
    const index = this.#index;
    const checked = () => this.#mustBeOpen();
    return {
      async get(key) {
        checked();
        return index.note(key);
      },
      async put(key, value) {
        checked();
        await index.putNote(key, value);
      },
      async delete(key) {
        checked();
        await index.deleteNote(key);
      },
      async *entries(prefix) {
        checked();
        yield* index.notes(prefix);
      },
    };
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw new StoreError('closed', 'the store is closed');
  }
}

function metaOf(entry: BlobEntry): BlobMeta {
  return { sizeBytes: entry.sizeBytes, usedAt: entry.usedAt, mediaType: entry.mediaType };
}
