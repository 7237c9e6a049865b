/**
 * What the store holds, in memory: the truth while the agent runs, of which the index is the copy that survives.
 * It counts bytes and keeps blobs in order of use; it touches no disk.
 */
import type { BlobId } from '@shoal/oci';
import type { BlobRecord } from './blob-store.ts';

export interface BlobEntry {
  readonly id: BlobId;
  readonly sizeBytes: number;
  mediaType: string | undefined;
  usedAt: number;
  /** The last use that the index knows. */
  savedUseAt: number;
  /** Handles and reads under way; above zero it is never evicted. */
  users: number;
  /** Dropped while in use: no longer found, its bytes counted until the last user is done. */
  gone: boolean;
}

export interface PartialEntry {
  readonly id: BlobId;
  readonly sizeBytes: number;
  heldBytes: number;
  usedAt: number;
  /** Open partials have their whole size reserved; others count what they hold. */
  open: boolean;
  /** Set while its file and records are being removed. */
  leaving?: Promise<void>;
}

export type Evictable =
  | { kind: 'blob'; entry: BlobEntry; bytes: number }
  | { kind: 'partial'; entry: PartialEntry; bytes: number };

export function recordOf(entry: BlobEntry): BlobRecord {
  const record: BlobRecord = { id: entry.id, sizeBytes: entry.sizeBytes };
  if (entry.mediaType !== undefined) record.mediaType = entry.mediaType;
  return record;
}

export class Ledger {
  /** Least recently used first. */
  readonly #blobs = new Map<BlobId, BlobEntry>();
  readonly #partials = new Map<BlobId, PartialEntry>();
  #blobBytes = 0;
  #lingeringBytes = 0;
  #spokenForBytes = 0;

  /** Committed, lingering and reserved bytes. */
  get bytes(): number {
    let bytes = this.#blobBytes + this.#lingeringBytes + this.#spokenForBytes;
    for (const partial of this.#partials.values()) bytes += partial.open ? partial.sizeBytes : partial.heldBytes;
    return bytes;
  }

  /** Bytes that were promised room but are not on the disk yet. */
  get unwrittenBytes(): number {
    let bytes = this.#spokenForBytes;
    for (const partial of this.#partials.values()) if (partial.open) bytes += partial.sizeBytes - partial.heldBytes;
    return bytes;
  }

  get blobCount(): number {
    return this.#blobs.size;
  }

  blob(id: BlobId): BlobEntry | undefined {
    return this.#blobs.get(id);
  }

  blobs(): IterableIterator<BlobEntry> {
    return this.#blobs.values();
  }

  /** Adds a blob as the most recently used one. */
  addBlob(record: BlobRecord, usedAt: number): BlobEntry {
    const before = this.#blobs.get(record.id);
    if (before !== undefined) this.removeBlob(before);
    const { id, sizeBytes, mediaType } = record;
    const entry: BlobEntry = { id, sizeBytes, mediaType, usedAt, savedUseAt: usedAt, users: 0, gone: false };
    this.#blobs.set(id, entry);
    this.#blobBytes += sizeBytes;
    return entry;
  }

  /** No longer found from now on. Its bytes count until nobody uses it. */
  removeBlob(entry: BlobEntry): void {
    if (entry.gone) return;
    entry.gone = true;
    if (this.#blobs.get(entry.id) === entry) this.#blobs.delete(entry.id);
    this.#blobBytes -= entry.sizeBytes;
    if (entry.users > 0) this.#lingeringBytes += entry.sizeBytes;
  }

  touch(entry: BlobEntry, now: number): void {
    entry.usedAt = now;
    if (this.#blobs.get(entry.id) !== entry) return;
    this.#blobs.delete(entry.id);
    this.#blobs.set(entry.id, entry);
  }

  use(entry: BlobEntry): void {
    entry.users++;
  }

  /** Returns whether that was the last user. */
  unuse(entry: BlobEntry): boolean {
    entry.users--;
    if (entry.users === 0 && entry.gone) this.#lingeringBytes -= entry.sizeBytes;
    return entry.users === 0;
  }

  partial(id: BlobId): PartialEntry | undefined {
    return this.#partials.get(id);
  }

  addPartial(entry: PartialEntry): PartialEntry {
    this.#partials.set(entry.id, entry);
    return entry;
  }

  removePartial(entry: PartialEntry): void {
    if (this.#partials.get(entry.id) === entry) this.#partials.delete(entry.id);
  }

  /** Room for a small object between its reservation and its commit. */
  speakFor(bytes: number): void {
    this.#spokenForBytes += bytes;
  }

  /**
   * What may go, the least missed first: partials nobody has open, then blobs nobody has open and nothing pins. A blob that is
   * arriving again is left alone too, so that its removal cannot meet its own commit.
   */
  *evictable(isPinned: (id: BlobId) => boolean, keep?: BlobId): Generator<Evictable> {
    const idle = [...this.#partials.values()].filter(
      (partial) => !partial.open && !partial.leaving && partial.id !== keep,
    );
    idle.sort((left, right) => left.usedAt - right.usedAt);
    for (const entry of idle) yield { kind: 'partial', entry, bytes: entry.heldBytes };
    for (const entry of this.#blobs.values()) {
      if (entry.users > 0 || entry.id === keep || this.#partials.get(entry.id)?.open || isPinned(entry.id)) continue;
      yield { kind: 'blob', entry, bytes: entry.sizeBytes };
    }
  }
}
