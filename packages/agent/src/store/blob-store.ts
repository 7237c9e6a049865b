/**
 * The store: committed blobs as files, partial blobs as files with a piece map, an index beside them.
 * Content is identical everywhere and yet kept per registry (`BlobId`): what one registry gave out is nothing that another
 * one's clients may read, and a blob that two registries have is read from both. Who may read it is decided in `access`.
 * Nothing here talks to a network, and nothing here trusts a byte: `commit` hashes the whole blob.
 */
import type { Hash } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import type { PieceMap } from '@shoal/swarm';

export interface BlobRecord {
  id: BlobId;
  sizeBytes: number;
  /** Known for manifests that came with one. */
  mediaType?: string;
}

/** Why a store call failed. `disk-full` and `over-quota` mean: carry on without the store. */
export type StoreErrorCode =
  | 'disk-full'
  | 'over-quota'
  | 'too-many-pins'
  | 'digest-mismatch'
  | 'unwritable'
  | 'closed'
  | 'io';

/** Why a blob or a partial went: room for others under the quota or on the disk, nobody read it, somebody said so, damage, the runtime keeps it. */
export type RemovalReason = 'quota' | 'disk' | 'expired' | 'pruned' | 'removed' | 'damaged' | 'in-runtime';

/** A committed blob as its operator sees it. */
export interface KeptBlob extends BlobRecord {
  /** Milliseconds since 1970; arriving counts as a use. */
  usedAtMs: number;
  isPinned: boolean;
  /** Somebody has it open. */
  isInUse: boolean;
}

/** What may go is what nobody has open and nothing pins. The least recently used goes first. */
export interface Shedding {
  /** Only what nobody used since then. */
  unusedSinceMs?: number;
  /** Stops once no more than this is kept. @default 0 */
  keepBytes?: number;
  /** Says what would go, and keeps it. */
  isDryRun?: boolean;
}

export interface Shed {
  /** Those that went, or would; half-pulled ones are counted, not listed. */
  blobs: KeptBlob[];
  partials: number;
  /** Of both. */
  bytes: number;
}

/** A pin keeps the blobs it names, those that are not here yet as soon as they come. */
export interface Pin {
  /** What was pinned, in its owner's words. */
  name: string;
  /** With their sizes in bytes. */
  blobs: ReadonlyMap<BlobId, number>;
}

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
  }
}

/** An open committed blob. It is not evicted until `release` was called. */
export interface BlobHandle extends BlobRecord {
  /** Reads exactly `length` bytes at `offset`, into new memory or the start of `into`, and gives that part of it back. */
  read(offset: number, length: number, into?: Buffer): Promise<Buffer>;
  /** 32 bytes per piece (SHA-256), as found when the blob was committed. */
  pieceHash(index: number): Promise<Uint8Array>;
  release(): void;
}

/** A blob that is arriving. Its pieces survive a restart; each is checked against its hash when resumed. */
export interface PartialBlob {
  readonly id: BlobId;
  readonly sizeBytes: number;
  /** Pieces on disk and verified. Only `write` adds to it, only `forget` takes away. */
  readonly pieces: PieceMap;
  /**
   * Keeps a piece whose SHA-256 the caller has checked. `attestation` is opaque here and comes back from `attestation()`.
   * @throws StoreError disk-full, io, closed
   */
  write(index: number, bytes: Uint8Array, sha256: Uint8Array, attestation: Uint8Array): Promise<void>;
  /** Reads bytes of pieces that are in `pieces`, as a `BlobHandle` does. */
  read(offset: number, length: number, into?: Buffer): Promise<Buffer>;
  /** The state of the blob's hash after all bytes before `offset`, if it is at hand; also of a partial that is closed. */
  hashBefore(offset: number): Hash | undefined;
  attestation(index: number): Uint8Array | undefined;
  /** The SHA-256 that came with a piece that is here. */
  pieceHash(index: number): Uint8Array | undefined;
  /** Reads every piece back: those whose bytes are not what was written. @throws StoreError closed */
  damaged(): Promise<number[]>;
  /**
   * Takes pieces out of `pieces` at once, so that others can be written in their place; resolves when a restart will not
   * bring them back either. @throws StoreError io, disk-full, closed
   */
  forget(indexes: readonly number[]): Promise<void>;
  /**
   * Hash whole → fsync → rename → index. The blob is then found by `open`. Resolves as soon as the hash is known to be
   * right when `onVerified` is given: it is called before the fsync.
   * @throws StoreError digest-mismatch: the partial is as it was before; any other: nothing is kept, the partial is gone
   */
  commit(options?: { mediaType?: string; onVerified?: () => void }): Promise<void>;
  /** Keeps what is there for a later resume and closes the file. */
  close(): Promise<void>;
  /** Forgets the partial and frees its space. */
  drop(): Promise<void>;
}

export interface VerifyOptions {
  signal: AbortSignal;
  /** Called with every portion read. */
  onBytes?: (sizeBytes: number) => void;
}

export interface BlobStore {
  find(id: BlobId): Promise<BlobRecord | undefined>;
  /**
   * Opens a committed blob and marks it used now, unless `isUse` is false; undefined when it is not here (or turned out
   * damaged: then it is dropped).
   */
  open(id: BlobId, options?: { isUse?: boolean }): Promise<BlobHandle | undefined>;
  /**
   * Opens or resumes the partial blob and reserves its space, evicting least recently used blobs if need be.
   * One at a time per blob. @throws StoreError over-quota, disk-full, io
   */
  partial(id: BlobId, sizeBytes: number): Promise<PartialBlob>;
  /** Commits a small object (a manifest) in one step. @throws StoreError digest-mismatch, over-quota, disk-full */
  put(id: BlobId, bytes: Uint8Array, mediaType?: string): Promise<void>;
  /** No longer found from now on. Its bytes go when nobody has it open any more. @param reason @default 'damaged' */
  drop(id: BlobId, reason?: RemovalReason): Promise<void>;
  /** Every committed blob. */
  list(): AsyncIterable<BlobRecord>;
  /** Every committed blob as it is now, the least recently used first. */
  kept(): KeptBlob[];
  /** Bytes committed and reserved, number of committed blobs, and the quota. */
  usage(): { bytes: number; blobs: number; quotaBytes: number };
  /** Removes what need not be here. */
  shed(shedding: Shedding, reason: RemovalReason): Promise<Shed>;
  /** Reads a committed blob back from its file; a damaged one is dropped. Undefined: it is not here. @throws the reason of `signal` */
  verify(id: BlobId, options: VerifyOptions): Promise<'whole' | 'damaged' | undefined>;

  readonly pins: {
    has(id: BlobId): boolean;
    /** Bytes that are here and pinned. */
    heldBytes(): number;
    /** The most that all pins together may name. */
    readonly limitBytes: number;
    list(): readonly Pin[];
    /** In place of a pin of the same name. @throws StoreError too-many-pins, disk-full, io; nothing has changed then */
    put(pin: Pin): Promise<void>;
    /** Resolves to whether there was one. @throws StoreError disk-full, io */
    delete(name: string): Promise<boolean>;
    /** Takes blobs out of every pin. @throws StoreError disk-full, io */
    forget(ids: Iterable<BlobId>): Promise<void>;
  };

  /** A small durable map beside the index for other rooms (`access`, `peers`); keys are namespaced by the caller. */
  readonly notes: {
    get(key: string): Promise<string | undefined>;
    put(key: string, value: string): Promise<void>;
    delete(key: string): Promise<void>;
    entries(prefix: string): AsyncIterable<[key: string, value: string]>;
  };
  close(): Promise<void>;
}
