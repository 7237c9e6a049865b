/**
 * The blobs that containerd keeps on this node, read from its own files and never written. Nothing is told of one, and no byte of it
 * given out, before its whole hash was found right once in this agent's life:
 *
 *   listed ─► waiting ─► checked in the background, at a low rate; at once when somebody asks for it
 *                         ├─ right ────────► whole: announced, served; every piece is compared with its hash again on its way out
 *                         ├─ wrong ────────► logged, never offered, until containerd itself removes it
 *                         └─ unreadable ───► looked at again with the next listing
 *   whole, and the file is another one or does not match ─► withdrawn, waiting again
 *   whole, and the file is gone ─► withdrawn at once
 *
 * `ContentWatch` says what containerd has; `SharedStore` asks here for what the agent's own store has not.
 */
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BlobId, type Digest, digestAlgorithm, digestHex, digestOf } from '@shoal/oci';
import type { Logger } from 'pino';
import { TokenBucket } from '../rate/token-bucket.ts';
import { checkBlob } from '../store/blob-check.ts';
import { type BlobHandle, type BlobRecord, StoreError } from '../store/blob-store.ts';
import { hasCode, storeErrorFrom } from '../store/failure.ts';
import { type HandleOwner, OpenedBlob } from '../store/opened-blob.ts';
import { type FileStamp, isSameFile, openStamped, type StampedFile, stampOf } from './content-file.ts';

/** So much is hashed in the background per second: some per cent of a core, and of a disk that containers need. */
const CHECK_BYTES_PER_SECOND: number = 64 * 2 ** 20;
/** A client waits so long for a blob to be hashed, then it is pulled as if it were not here. */
const HASHED_WITHIN_MS = 500;
/** containerd still sets the times of a file that it has just moved into place. */
const MAX_CHECKS = 3;

/** `waiting`: to be hashed, or being hashed. `gone`: forgotten, as only who is hashing or opening it still sees. */
type State = 'waiting' | 'whole' | 'wrong' | 'unreadable' | 'gone';

interface Found {
  stamp: FileStamp;
  pieceHashes: Uint8Array;
}

interface Entry {
  readonly record: BlobRecord;
  readonly path: string;
  state: State;
  /** Somebody asked for it. */
  isUrgent: boolean;
  checks: number;
  /** Settles when it is not `waiting` any more; made when somebody asks. */
  decided: PromiseWithResolvers<void> | undefined;
  /** Of the file that was found right, as long as it is `whole`. */
  found: Found | undefined;
}

export interface ContentUsage {
  /** Shared now. */
  blobs: number;
  bytes: number;
  /** Still to be hashed. */
  waiting: number;
  /** Found wrong. */
  wrong: number;
  unreadable: number;
}

export interface ContentShelfOptions {
  /** @default 64 MiB */
  checkBytesPerSecond?: number;
}

export interface ContentShelfDependencies {
  logger: Logger;
  /** It can be given out from now on. */
  onWhole: (blob: BlobRecord) => void;
  /** It was whole, and cannot be given out any more. */
  onGone: (blob: BlobRecord) => void;
}

export class ContentShelf {
  readonly #checkBytesPerSecond: number;
  readonly #dependencies: ContentShelfDependencies;
  readonly #entries = new Map<BlobId, Entry>();
  readonly #byDigest = new Map<Digest, Entry>();
  /** To be hashed. The urgent ones go first, and have a lane of their own. */
  readonly #waiting = new Set<Entry>();
  readonly #urgent = new Set<Entry>();
  readonly #lanes = new Map<'background' | 'urgent', Promise<void>>();
  readonly #closing = new AbortController();

  constructor(options: ContentShelfOptions, dependencies: ContentShelfDependencies) {
    this.#checkBytesPerSecond = options.checkBytesPerSecond ?? CHECK_BYTES_PER_SECOND;
    this.#dependencies = dependencies;
  }

  /** What containerd has now, in place of what it had. @param folder of its content store */
  replace(listed: readonly BlobRecord[], folder: string): void {
    const ids = new Set(listed.map(({ id }) => id));
    for (const entry of [...this.#entries.values()]) if (!ids.has(entry.record.id)) this.#forget(entry);
    for (const record of listed) {
      const digest = digestOf(record.id);
      const path = join(folder, 'blobs', digestAlgorithm(digest), digestHex(digest));
      const before = this.#entries.get(record.id);
      if (before?.path === path && before.record.sizeBytes === record.sizeBytes) {
        if (before.state === 'unreadable') this.#wait(before);
        continue;
      }
      if (before !== undefined) this.#forget(before);
      this.#add(record, digest, path);
    }
    this.#work();
  }

  /** Its file is not there any more. */
  gone(digest: Digest): void {
    const entry = this.#byDigest.get(digest);
    if (entry !== undefined) this.#forget(entry);
  }

  /** Only what is whole. Asking has others hashed soon. */
  find(id: BlobId): BlobRecord | undefined {
    const entry = this.#entries.get(id);
    if (entry?.state === 'whole') return entry.record;
    if (entry !== undefined) this.#hurry(entry);
    return undefined;
  }

  isWhole(id: BlobId): boolean {
    return this.#entries.get(id)?.state === 'whole';
  }

  /** Undefined when it is not here, or not known to be right in time. @throws StoreError io: too many files are open */
  async open(id: BlobId): Promise<BlobHandle | undefined> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    if (entry.state === 'waiting') await this.#decidedSoon(entry);
    const { found } = entry;
    if (entry.state !== 'whole' || found === undefined) return undefined;
    let opened: StampedFile;
    try {
      opened = await openStamped(entry.path);
    } catch (error) {
      if (hasCode(error, 'EMFILE') || hasCode(error, 'ENFILE')) throw storeErrorFrom(error, `cannot open ${id}`);
      if (hasCode(error, 'ENOENT')) this.#forget(entry);
      else this.doubt(id);
      return undefined;
    }
    if (isSameFile(opened.stamp, found.stamp)) {
      return new OpenedBlob(entry.record, { ...found, file: opened.file }, this.#handleOwner);
    }
    await opened.file.close();
    this.doubt(id);
    return undefined;
  }

  /** Something read of it was wrong, or could not be read: withdrawn until its whole hash was found right again. */
  doubt(id: BlobId): void {
    const entry = this.#entries.get(id);
    if (entry?.state !== 'whole') return;
    this.#wait(entry);
    this.#dependencies.onGone(entry.record);
    this.#hurry(entry);
  }

  *whole(): Generator<BlobRecord> {
    for (const { state, record } of this.#entries.values()) if (state === 'whole') yield record;
  }

  usage(): ContentUsage {
    const usage: ContentUsage = { blobs: 0, bytes: 0, waiting: 0, wrong: 0, unreadable: 0 };
    for (const { state, record } of this.#entries.values()) {
      if (state === 'whole') {
        usage.blobs++;
        usage.bytes += record.sizeBytes;
      } else if (state !== 'gone') usage[state]++;
    }
    return usage;
  }

  async close(): Promise<void> {
    this.#closing.abort(new StoreError('closed', 'the agent is stopping'));
    await Promise.all(this.#lanes.values());
  }

  /** What is open when containerd collects it is still whole; what cannot be read any more is withdrawn. */
  readonly #handleOwner: HandleOwner<BlobRecord, Found & { file: FileHandle }> = {
    pieceHashes: async (_, { pieceHashes }) => pieceHashes,
    failed: async ({ id }, error) => {
      this.doubt(id);
      return storeErrorFrom(error, `cannot read ${id}`);
    },
    // Nothing was written to it that closing could lose.
    release: (_, { file }) => void file.close().catch(() => undefined),
  };

  #add(record: BlobRecord, digest: Digest, path: string): void {
    const entry: Entry = {
      record,
      path,
      state: 'waiting',
      isUrgent: false,
      checks: 0,
      decided: undefined,
      found: undefined,
    };
    this.#entries.set(record.id, entry);
    this.#byDigest.set(digest, entry);
    this.#waiting.add(entry);
  }

  #wait(entry: Entry): void {
    entry.state = 'waiting';
    entry.found = undefined;
    entry.isUrgent = false;
    entry.checks = 0;
    this.#waiting.add(entry);
  }

  #forget(entry: Entry): void {
    // By another's hand meanwhile: its place may be a newer entry's.
    if (entry.state === 'gone') return;
    const { record, state } = entry;
    entry.state = 'gone';
    this.#entries.delete(record.id);
    if (this.#byDigest.get(digestOf(record.id)) === entry) this.#byDigest.delete(digestOf(record.id));
    this.#waiting.delete(entry);
    this.#urgent.delete(entry);
    entry.decided?.resolve();
    if (state === 'whole') this.#dependencies.onGone(record);
  }

  #hurry(entry: Entry): void {
    if (entry.state !== 'waiting' || entry.isUrgent) return;
    entry.isUrgent = true;
    if (this.#waiting.delete(entry)) this.#urgent.add(entry);
    this.#work();
  }

  async #decidedSoon(entry: Entry): Promise<void> {
    this.#hurry(entry);
    entry.decided ??= Promise.withResolvers<void>();
    const timer = new AbortController();
    const late = sleep(HASHED_WITHIN_MS, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([entry.decided.promise, late]);
    timer.abort();
  }

  #work(): void {
    if (this.#urgent.size > 0) this.#run('urgent', () => first(this.#urgent));
    if (this.#waiting.size + this.#urgent.size > 0)
      this.#run('background', () => first(this.#urgent) ?? first(this.#waiting));
  }

  #run(lane: 'background' | 'urgent', next: () => Entry | undefined): void {
    if (this.#lanes.has(lane) || this.#closing.signal.aborted) return;
    const work = async (): Promise<void> => {
      for (let entry = next(); entry !== undefined && !this.#closing.signal.aborted; entry = next()) {
        this.#urgent.delete(entry);
        this.#waiting.delete(entry);
        await this.#check(entry);
      }
    };
    this.#lanes.set(
      lane,
      work().finally(() => {
        this.#lanes.delete(lane);
        // What came in the moment between.
        this.#work();
      }),
    );
  }

  /** Never rejects. */
  async #check(entry: Entry): Promise<void> {
    const { record } = entry;
    const { logger } = this.#dependencies;
    entry.checks++;
    try {
      const result = await this.#hash(entry);
      if (entry.state === 'gone') return;
      if (result === 'changing' && entry.checks < MAX_CHECKS) {
        (entry.isUrgent ? this.#urgent : this.#waiting).add(entry);
        return;
      }
      if (typeof result === 'string') {
        entry.state = 'wrong';
        logger.warn({ blob: record.id, path: entry.path }, "containerd's file is not what its name says: never shared");
      } else {
        entry.state = 'whole';
        entry.found = result;
        this.#dependencies.onWhole(record);
      }
    } catch (error) {
      if (entry.state === 'gone' || this.#closing.signal.aborted) return;
      if (hasCode(error, 'ENOENT')) {
        this.#forget(entry);
        return;
      }
      entry.state = 'unreadable';
      logger.warn({ err: error, blob: record.id, path: entry.path }, "containerd's file cannot be read");
    } finally {
      if (entry.state !== 'waiting') {
        entry.decided?.resolve();
        entry.decided = undefined;
      }
    }
  }

  /** @throws the system's error; StoreError io, closed */
  async #hash(entry: Entry): Promise<Found | 'wrong' | 'changing'> {
    const { sizeBytes, id } = entry.record;
    const { file, stamp } = await openStamped(entry.path);
    try {
      if (stamp.sizeBytes !== BigInt(sizeBytes)) return 'wrong';
      const pieceHashes = await checkBlob(file, digestOf(id), sizeBytes, this.#pace(entry));
      if (!isSameFile(stamp, await stampOf(file))) return 'changing';
      return pieceHashes === undefined ? 'wrong' : { stamp, pieceHashes };
    } finally {
      await file.close();
    }
  }

  /** Between two portions: ends the work that nobody needs any more, and slows down what nobody waits for. */
  #pace(entry: Entry): (hashedBytes: number) => Promise<void> {
    const { signal } = this.#closing;
    const rate = new TokenBucket({ perSecond: this.#checkBytesPerSecond, burst: 0 }, performance.now());
    return async (hashedBytes) => {
      signal.throwIfAborted();
      if (entry.state === 'gone')
        throw new StoreError('closed', `${entry.record.id} is not in containerd's store any more`);
      const nowMs = performance.now();
      rate.spend(hashedBytes, nowMs);
      const waitMs = rate.waitMs(0, nowMs);
      if (!entry.isUrgent && waitMs > 1) await sleep(waitMs, undefined, { signal });
    };
  }
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item;
  return undefined;
}
