/**
 * One descriptor per blob in use, shared by all its readers; a few more stay open after their last reader, because a
 * popular layer is opened again and again by peers.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { StoreError } from './blob-store.ts';
import type { BlobEntry, Ledger } from './ledger.ts';

const IDLE_FILES = 32;

export interface OpenFile {
  readonly file: FileHandle;
  /** The blob's piece hashes, once somebody asked. */
  pieceHashes: Promise<Uint8Array> | undefined;
}

export class OpenFiles {
  readonly #ledger: Ledger;
  readonly #files = new Map<BlobEntry, Promise<OpenFile>>();
  /** Least recently used first. */
  readonly #idle = new Set<BlobEntry>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /**
   * The entry is in use from this call on, also while its file is being opened; a call that rejects leaves it unused.
   * @throws StoreError io when the file does not have the blob's size; the system's error when it cannot be opened
   */
  async acquire(entry: BlobEntry, path: string): Promise<OpenFile> {
    this.#ledger.use(entry);
    this.#idle.delete(entry);
    try {
      let opening = this.#files.get(entry);
      if (opening === undefined) {
        opening = openChecked(path, entry.sizeBytes);
        this.#files.set(entry, opening);
      }
      return await opening;
    } catch (error) {
      this.#files.delete(entry);
      this.#ledger.unuse(entry);
      throw error;
    }
  }

  /** Takes over the descriptor of a partial that became this blob. */
  adopt(entry: BlobEntry, file: FileHandle): void {
    this.#files.set(entry, Promise.resolve({ file, pieceHashes: undefined }));
    this.#rest(entry);
  }

  release(entry: BlobEntry): void {
    if (!this.#ledger.unuse(entry)) return;
    if (entry.gone) this.forget(entry);
    else this.#rest(entry);
  }

  /** Closes the file of an entry that nobody uses. */
  forget(entry: BlobEntry): void {
    this.#idle.delete(entry);
    const opening = this.#files.get(entry);
    if (opening === undefined) return;
    this.#files.delete(entry);
    void opening.then(({ file }) => file.close()).catch(() => undefined);
  }

  /** Closes everything, read from or not. */
  async close(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    this.#idle.clear();
    await Promise.allSettled(files.map(async (opening) => (await opening).file.close()));
  }

  #rest(entry: BlobEntry): void {
    if (!this.#files.has(entry)) return;
    this.#idle.add(entry);
    for (const oldest of this.#idle) {
      if (this.#idle.size <= IDLE_FILES) break;
      this.forget(oldest);
    }
  }
}

async function openChecked(path: string, sizeBytes: number): Promise<OpenFile> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    if (size !== sizeBytes) throw new StoreError('io', `${path} has ${size} bytes instead of ${sizeBytes}`);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, pieceHashes: undefined };
}
