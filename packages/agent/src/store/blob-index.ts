/**
 * The index: one level database. It is the only thing that opens it, and level's LOCK file is what keeps a second agent
 * out of the folder. Whatever it says about blobs can be told again from the files, so writes to it are not synced.
 *
 *     b!<id>               JSON {sizeBytes, usedAt, mediaType?}      a committed blob
 *     h!<id>               SHA-256 of every piece, then CRC-32       its piece hashes
 *     p!<id>               JSON {sizeBytes, usedAt}                  a partial blob
 *     q!<id>!<8 hex>       SHA-256 of the piece, then attestation    a piece of a partial
 *     n!<key>                  text                                      a note of another room
 */
import { crc32 } from 'node:zlib';
import { type BlobId, parseBlobId } from '@shoal/oci';
import { Level } from 'level';
import { PIECE_HASH_BYTES } from './blob-check.ts';
import { StoreError } from './blob-store.ts';
import { hasCode, storeErrorFrom } from './failure.ts';

export interface BlobMeta {
  sizeBytes: number;
  usedAt: number;
  mediaType?: string | undefined;
}

export interface PartialMeta {
  sizeBytes: number;
  usedAt: number;
}

export interface PieceRecord {
  index: number;
  sha256: Uint8Array;
  attestation: Uint8Array;
}

type Put = { type: 'put'; key: string; value: Uint8Array };
type Del = { type: 'del'; key: string };
type Step = Put | Del;

const CRC_BYTES = 4;
const EMPTY = Buffer.alloc(0);

const blobKey = (id: BlobId) => `b!${id}`;
const hashesKey = (id: BlobId) => `h!${id}`;
const partialKey = (id: BlobId) => `p!${id}`;
const pieceKey = (id: BlobId, index: number) => `q!${id}!${index.toString(16).padStart(8, '0')}`;
const noteKey = (key: string) => `n!${key}`;
/** `"` follows `!`, so this range holds exactly one partial's pieces. */
const pieceRange = (id: BlobId) => ({ gte: `q!${id}!`, lt: `q!${id}"` });

/** The database cannot be read as it is; its files are still there. */
export class IndexCorrupt extends Error {
  constructor(cause: unknown) {
    super(`the index is damaged: ${describe(cause)}`, { cause });
    this.name = 'IndexCorrupt';
  }
}

function describe(error: unknown): string {
  const deepest = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return deepest instanceof Error ? deepest.message : String(deepest);
}

/** Damage, as opposed to a folder that is locked, forbidden or full. */
function isDamage(error: unknown): boolean {
  if (hasCode(error, 'LEVEL_CORRUPTION')) return true;
  return hasCode(error, 'LEVEL_IO_ERROR') && /No such file|Is a directory|Invalid argument/i.test(describe(error));
}

function toJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function metaFrom(value: Uint8Array): BlobMeta | undefined {
  try {
    const meta = JSON.parse(Buffer.from(value).toString('utf8')) as Partial<BlobMeta> | null;
    if (meta === null || !Number.isSafeInteger(meta.sizeBytes) || typeof meta.usedAt !== 'number') return undefined;
    const { sizeBytes, usedAt, mediaType } = meta as BlobMeta;
    return { sizeBytes, usedAt, mediaType: typeof mediaType === 'string' ? mediaType : undefined };
  } catch {
    return undefined;
  }
}

export class BlobIndex {
  readonly #level: Level<string, Uint8Array>;
  /** Set while the database is closed and opened again after a failed write. */
  #reopening: Promise<void> | undefined;
  #failed = false;
  #closed = false;

  private constructor(level: Level<string, Uint8Array>) {
    this.#level = level;
  }

  /** @throws IndexCorrupt; whatever level throws for a locked, forbidden or full folder */
  static async open(folder: string): Promise<BlobIndex> {
    const level = new Level<string, Uint8Array>(folder, { keyEncoding: 'utf8', valueEncoding: 'view' });
    try {
      await level.open();
    } catch (error) {
      throw isDamage(error) ? new IndexCorrupt(error) : error;
    }
    return new BlobIndex(level);
  }

  /** Every committed blob. A record that makes no sense is skipped, as if it were not there. @throws IndexCorrupt */
  blobs(): AsyncGenerator<[BlobId, BlobMeta]> {
    return this.#metas('b!');
  }

  /** Every partial blob. @throws IndexCorrupt */
  partials(): AsyncGenerator<[BlobId, PartialMeta]> {
    return this.#metas('p!');
  }

  /** The pieces that each partial has records for. @throws IndexCorrupt */
  async pieceIndexes(): Promise<Map<BlobId, number[]>> {
    const found = new Map<BlobId, number[]>();
    try {
      for await (const key of this.#level.keys({ gte: 'q!', lt: 'q"' })) {
        const id = parseBlobId(key.slice(2, key.lastIndexOf('!')));
        const index = Number.parseInt(key.slice(key.lastIndexOf('!') + 1), 16);
        if (id === undefined || Number.isNaN(index)) continue;
        const indexes = found.get(id) ?? [];
        indexes.push(index);
        found.set(id, indexes);
      }
    } catch (error) {
      throw isDamage(error) ? new IndexCorrupt(error) : error;
    }
    return found;
  }

  /** Records a committed blob and, in the same atomic write, forgets the partial it came from. */
  async putBlob(id: BlobId, meta: BlobMeta, pieceHashes: Uint8Array, fromPieces = 0): Promise<void> {
    const checked = Buffer.allocUnsafe(pieceHashes.length + CRC_BYTES);
    checked.set(pieceHashes);
    checked.writeUInt32BE(crc32(pieceHashes), pieceHashes.length);
    const steps: Step[] = [
      { type: 'put', key: blobKey(id), value: toJson(meta) },
      { type: 'put', key: hashesKey(id), value: checked },
      { type: 'del', key: partialKey(id) },
    ];
    for (let index = 0; index < fromPieces; index++) steps.push({ type: 'del', key: pieceKey(id, index) });
    await this.#write(steps);
  }

  async saveMetas(metas: readonly (readonly [BlobId, BlobMeta])[]): Promise<void> {
    await this.#write(metas.map(([id, meta]) => ({ type: 'put', key: blobKey(id), value: toJson(meta) })));
  }

  async deleteBlob(id: BlobId): Promise<void> {
    await this.#write([
      { type: 'del', key: blobKey(id) },
      { type: 'del', key: hashesKey(id) },
    ]);
  }

  /** 32 bytes for each of `count` pieces; undefined when they are missing or damaged. */
  async pieceHashes(id: BlobId, count: number): Promise<Uint8Array | undefined> {
    await this.#readable();
    const checked = await this.#level.get(hashesKey(id)).catch(() => undefined);
    if (checked?.length !== count * PIECE_HASH_BYTES + CRC_BYTES) return undefined;
    const hashes = checked.subarray(0, count * PIECE_HASH_BYTES);
    const stored = Buffer.from(checked.buffer, checked.byteOffset + hashes.length, CRC_BYTES).readUInt32BE(0);
    return crc32(hashes) === stored ? hashes : undefined;
  }

  async putPartial(id: BlobId, meta: PartialMeta): Promise<void> {
    await this.#write([{ type: 'put', key: partialKey(id), value: toJson(meta) }]);
  }

  async putPiece(id: BlobId, index: number, sha256: Uint8Array, attestation: Uint8Array): Promise<void> {
    const value = Buffer.concat([sha256, attestation]);
    await this.#write([{ type: 'put', key: pieceKey(id, index), value }]);
  }

  /** The records of a partial's pieces, in order. */
  async pieces(id: BlobId, count: number): Promise<PieceRecord[]> {
    await this.#readable();
    const records: PieceRecord[] = [];
    for await (const [key, value] of this.#level.iterator(pieceRange(id))) {
      const index = Number.parseInt(key.slice(key.lastIndexOf('!') + 1), 16);
      if (!(index < count) || value.length < PIECE_HASH_BYTES) continue;
      records.push({
        index,
        sha256: value.slice(0, PIECE_HASH_BYTES),
        attestation: value.slice(PIECE_HASH_BYTES),
      });
    }
    return records;
  }

  async deletePieces(id: BlobId, indexes: readonly number[]): Promise<void> {
    await this.#write(indexes.map((index) => ({ type: 'del', key: pieceKey(id, index) })));
  }

  /** The header goes last: records without one are swept when the store opens. */
  async deletePartial(id: BlobId): Promise<void> {
    await this.#readable();
    try {
      await this.#level.clear(pieceRange(id));
    } catch (error) {
      this.#failed = true;
      throw storeErrorFrom(error, 'cannot write the index');
    }
    await this.#write([{ type: 'del', key: partialKey(id) }]);
  }

  async note(key: string): Promise<string | undefined> {
    await this.#readable();
    const value = await this.#level.get(noteKey(key)).catch((error: unknown) => {
      throw storeErrorFrom(error, 'cannot read the index');
    });
    return value === undefined ? undefined : Buffer.from(value).toString('utf8');
  }

  async putNote(key: string, value: string): Promise<void> {
    await this.#write([{ type: 'put', key: noteKey(key), value: value === '' ? EMPTY : Buffer.from(value) }]);
  }

  async deleteNote(key: string): Promise<void> {
    await this.#write([{ type: 'del', key: noteKey(key) }]);
  }

  async *notes(prefix: string): AsyncGenerator<[key: string, value: string]> {
    await this.#readable();
    for await (const [key, value] of this.#level.iterator({ gte: noteKey(prefix), lt: 'n"' })) {
      if (!key.startsWith(noteKey(prefix))) return;
      yield [key.slice(2), Buffer.from(value).toString('utf8')];
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#reopening?.catch(() => undefined);
    await this.#level.close();
  }

  async *#metas(prefix: 'b!' | 'p!'): AsyncGenerator<[BlobId, BlobMeta]> {
    try {
      for await (const [key, value] of this.#level.iterator({ gte: prefix, lt: `${prefix[0]}"` })) {
        const id = parseBlobId(key.slice(2));
        const meta = metaFrom(value);
        if (id !== undefined && meta !== undefined) yield [id, meta];
      }
    } catch (error) {
      throw isDamage(error) ? new IndexCorrupt(error) : error;
    }
  }

  /** Before a read: a database that could not be opened anew, on a full disk, is tried again. */
  async #readable(): Promise<void> {
    if (this.#failed && !this.#closed && this.#level.status !== 'open') this.#reopening ??= this.#reopen();
    // Should it stay closed, the read itself says so.
    await this.#reopening?.catch(() => undefined);
  }

  /** @throws StoreError disk-full, io */
  async #write(steps: Step[]): Promise<void> {
    if (steps.length === 0) return;
    if (this.#closed) throw new StoreError('closed', 'the store is closed');
    try {
      if (this.#failed) this.#reopening ??= this.#reopen();
      await this.#reopening;
      const [only] = steps;
      if (steps.length === 1 && only !== undefined) {
        if (only.type === 'put') await this.#level.put(only.key, only.value);
        else await this.#level.del(only.key);
      } else {
        await this.#level.batch(steps);
      }
    } catch (error) {
      this.#failed = true;
      throw storeErrorFrom(error, 'cannot write the index');
    }
  }

  /**
   * LevelDB refuses every write after one that failed in the background, and its log may be out of step after one that
   * failed in the foreground, until it is opened anew. What the log lost is found again in the files.
   */
  async #reopen(): Promise<void> {
    try {
      await this.#level.close();
      await this.#level.open();
      this.#failed = false;
    } finally {
      this.#reopening = undefined;
    }
  }
}
