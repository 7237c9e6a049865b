/**
 * One blob on its way here: its state, and what its readers may have of it.
 *
 *   SwarmDriver ─► piece ─► PieceKeeper: disk, then peers ─► readers are woken
 *               └► complete ─► the whole is hashed ─┬─► verified: the last piece is let out, the file is committed
 *                                                   └─► mismatch ─► BlobAudit ─┬─► wrong pieces are fetched again
 *                                                                              └─► the end
 *
 * A piece reaches a reader only from disk and only when verified; the blob's last piece waits for the whole hash.
 */
import type { Hash } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import { pieceCountOf, pieceSizeOf } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import type { Logger } from 'pino';
import type { OriginError } from '../origin/origin-client.ts';
import { type BlobHandle, type BlobStore, type PartialBlob, StoreError } from '../store/blob-store.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { BarredMembers } from './barred-members.ts';
import { type AuditResult, BlobAudit } from './blob-audit.ts';
import type { SizedBlob } from './blob-size.ts';
import { type KeptPiece, PieceKeeper } from './piece-keeper.ts';
import { PullError } from './pull-error.ts';
import { PullPace } from './pull-pace.ts';
import { type PieceTaker, PullWaiters } from './pull-waiters.ts';
import type { PullSource } from './pulls.ts';
import { SwarmDriver, type SwarmDriverDependencies } from './swarm-driver.ts';

/** A registry that asks for a longer pause than this is not waited for before the client is answered. */
const MAX_WAIT_MS = 3_000;

export interface BlobPullDependencies extends SwarmDriverDependencies {
  store: BlobStore;
  barred: BarredMembers;
  logger: Logger;
  /** A piece of this blob came and was kept; `from` is a PeerId or `origin`. */
  onPieceKept?: (from: string, sizeBytes: number) => void;
  /** A complete blob did not match its digest, and this came of it. `stopped`: its signer was barred meanwhile. */
  onAudit?: (result: AuditResult['found'] | 'stopped') => void;
}

export interface BlobPullOptions extends SizedBlob {
  zone: string;
  source: PullSource;
  /** Believe no peer: an earlier pull of this blob ended in a mismatch. */
  originOnly: boolean;
}

/**
 * `hashing`: every piece is here, the whole is compared with the digest. `auditing`: it did not match, and no byte leaves.
 * `verified`: it matched, the file is being made durable.
 */
type State = 'running' | 'hashing' | 'auditing' | 'verified' | 'committed' | 'failed';

/** So many failures in a row of a registry, and a client that waits for its first byte is better off elsewhere. */
const HOPELESS_AFTER = 2;
/** What a registry itself answers is often over in a moment, and some clients fail a pull over one blob. */
const HOPELESS_AFTER_5XX = 4;

/** How far a pull is. */
export interface PullProgress {
  blob: BlobId;
  sizeBytes: number;
  /** Verified and on the disk. */
  heldBytes: number;
  /** Since it began. */
  seconds: number;
  /** Where it would be read from now. */
  repository: string;
  /** Bytes of the pieces that were kept. */
  fromPeers: number;
  fromOrigin: number;
}

export class BlobPull {
  readonly blob: BlobId;
  readonly sizeBytes: number;
  /** Resolves when nothing is under way any more, however it ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: BlobPullOptions;
  readonly #dependencies: BlobPullDependencies;
  readonly #logger: Logger;
  readonly #partial: PartialBlob;
  readonly #pieceCount: number;
  readonly #driver: SwarmDriver;
  readonly #keeper: PieceKeeper;
  readonly #pace: PullPace;
  readonly #audit: BlobAudit;
  readonly #waiters = new PullWaiters();
  readonly #work = new Set<Promise<void>>();
  readonly #startedAtMs: number;
  #state: State = 'running';
  #stopAudit: AbortController | undefined;
  #failure: Error | undefined;
  #handle: BlobHandle | undefined;
  #resolveEnded: () => void = () => {};

  constructor(options: BlobPullOptions, partial: PartialBlob, dependencies: BlobPullDependencies) {
    const { blob, sizeBytes, source } = options;
    const { network, barred } = dependencies;
    this.blob = blob;
    this.sizeBytes = sizeBytes;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#partial = partial;
    this.#pieceCount = pieceCountOf(sizeBytes);
    this.#startedAtMs = dependencies.clock();
    const logger = dependencies.logger.child({ pullId: source.pullId, blob });
    this.#logger = logger;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#pace = new PullPace(source);
    this.#keeper = new PieceKeeper(options, partial, network);
    this.#driver = new SwarmDriver(
      options,
      partial.pieces,
      { ...dependencies, logger, pace: this.#pace },
      {
        onPiece: (piece, from) => this.#keep(piece, from),
        onOriginEnded: () => this.#waiters.wake(),
        onComplete: () => this.#track(this.#commit()),
        onGiveUp: (why) => this.#giveUp(why),
        track: (work) => this.#track(work),
      },
    );
    this.#audit = new BlobAudit(options, {
      ...dependencies,
      logger,
      partial,
      keeper: this.#keeper,
      source: () => this.#driver.origin.source,
      askAudit: () => this.#driver.leases.askAudit(),
      endAudit: () => this.#driver.leases.endAudit(),
      barred: () => barred.all,
    });
  }

  start(): void {
    this.barredChanged();
    this.#driver.start();
  }

  get state(): State {
    return this.#state;
  }

  /** Where what came until now came from. */
  get source(): 'origin' | 'peers' | 'both' | 'none' {
    const { bytesFromPeers, bytesFromOrigin } = this.#keeper.received;
    if (bytesFromPeers > 0) return bytesFromOrigin > 0 ? 'both' : 'peers';
    return bytesFromOrigin > 0 ? 'origin' : 'none';
  }

  /** What ended the pull, when it failed. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** What the origin last answered this source instead of the blob. */
  originErrorFor(source: PullSource): OriginError | undefined {
    return this.#driver.origin.errorFor(source);
  }

  /** The pieces on disk, while the blob is not committed. */
  get partial(): PartialBlob | undefined {
    return this.#active || this.#state === 'verified' ? this.#partial : undefined;
  }

  progress(): PullProgress {
    const { pieces } = this.#partial;
    const seconds = (this.#dependencies.clock() - this.#startedAtMs) / 1_000;
    // The last piece may be shorter; it counts when it is here.
    const heldBytes = pieces.complete
      ? this.sizeBytes
      : Math.min(pieces.held * pieceSizeOf(this.sizeBytes), this.sizeBytes);
    const repository = this.#driver.origin.source.repository.name;
    return { blob: this.blob, sizeBytes: this.sizeBytes, heldBytes, seconds, repository, ...this.received };
  }

  /** Of the pieces that were kept. */
  get received(): { fromPeers: number; fromOrigin: number } {
    const { bytesFromPeers, bytesFromOrigin } = this.#keeper.received;
    return { fromPeers: bytesFromPeers, fromOrigin: bytesFromOrigin };
  }

  /** Whether no client has asked for it yet. */
  get inBackground(): boolean {
    return this.#pace.inBackground;
  }

  addSource(source: PullSource): void {
    if (source.background === undefined) this.#pace.lift();
    if (this.#driver.origin.addSource(source)) this.#driver.react({ type: 'origin-allowed' });
  }

  /** Members that hold or want the blob, as the tracker says. */
  found(peers: readonly PeerRecord[]): void {
    this.#driver.found(peers);
  }

  /**
   * Somebody was barred, or is only suspected: what that member signed is fetched again. Unless the whole is known to be
   * wrong, this cuts nobody short: pieces that somebody was given bytes of stay until it is.
   */
  barredChanged(): void {
    // While the whole is hashed it is not known to be wrong; if it is, its signers are looked at first.
    if (this.#state !== 'running' && this.#state !== 'auditing') return;
    const signed = this.#keeper.signedBy(this.#dependencies.barred.all);
    const lost = this.#state === 'running' ? signed.filter((index) => !this.#waiters.gaveOut(index)) : signed;
    if (lost.length > 0) this.#lose(lost, 'barred-signer');
  }

  /** Whether bytes arrived within the last `withinMs`. */
  progressing(withinMs: number): boolean {
    return this.#partial.pieces.held > 0 && this.#dependencies.clock() - this.#driver.progressAtMs < withinMs;
  }

  /** Whether nobody serves it now: the origin failed again and no peer offers anything. Decides for a fast 404. */
  hopeless(): boolean {
    const { failuresInARow, lastError } = this.#driver.origin;
    const longWait = lastError?.code === 'rate-limited' && (lastError.retryAfterMs ?? MAX_WAIT_MS) >= MAX_WAIT_MS;
    const enough = lastError?.code === 'unavailable' ? HOPELESS_AFTER_5XX : HOPELESS_AFTER;
    const failed = failuresInARow >= enough || (failuresInARow === 1 && longWait);
    return failed && !this.#driver.peersHelp();
  }

  /**
   * A number for `waitFor`; give it back with `readerGone`.
   * @param taker hears of pieces that `waitFor` had let through and that turned out to be wrong
   */
  addReader(taker?: PieceTaker): number {
    return this.#waiters.add(taker);
  }

  readerGone(reader: number): void {
    this.#waiters.delete(reader);
    this.#driver.react({ type: 'reader-gone', reader });
  }

  /**
   * Resolves when piece `index` may be read (the last piece: when the whole blob matched its digest).
   * @throws what ended the pull, or the signal's reason
   */
  async waitFor(reader: number, index: number, signal: AbortSignal): Promise<void> {
    while (!this.#readable(index)) {
      if (!this.#partial.pieces.has(index)) this.#driver.react({ type: 'reader', reader, index });
      if (this.#failure !== undefined) throw this.#failure;
      signal.throwIfAborted();
      await this.nextChange(signal);
    }
  }

  /** Resolves when the blob is in the store. @throws what ended the pull, or the signal's reason */
  async arrived(signal: AbortSignal): Promise<void> {
    await unlessAborted(this.ended, signal);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Resolves at the next piece, at the pull's end, or when the signal fires. */
  nextChange(signal: AbortSignal): Promise<void> {
    return this.#waiters.nextChange(signal);
  }

  /** Bytes that `waitFor` has let through. */
  read(offset: number, length: number, memory: Buffer): Promise<Buffer> {
    return (this.#handle ?? this.#partial).read(offset, length, memory);
  }

  /** The hash of all bytes before `offset`, if it is at hand. */
  hashBefore(offset: number): Hash | undefined {
    return this.#partial.hashBefore(offset);
  }

  /** Stops, keeping what is here for a later resume, and frees the committed file. No reader may be left. */
  async close(): Promise<void> {
    if (this.#active) this.#fail(new PullError('closed', 'the pull was stopped'));
    await this.ended;
    this.#handle?.release();
    this.#handle = undefined;
  }

  /** Whether it may still come out either way. */
  get #active(): boolean {
    return this.#state === 'running' || this.#state === 'hashing' || this.#state === 'auditing';
  }

  #readable(index: number): boolean {
    if (this.#state === 'verified' || this.#state === 'committed') return true;
    const trusted = this.#state === 'running' || this.#state === 'hashing';
    return trusted && index < this.#pieceCount - 1 && this.#partial.pieces.has(index);
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  /** A verified piece: to disk, then to everybody. */
  async #keep(piece: KeptPiece, from: string): Promise<void> {
    if (this.#state !== 'running') return;
    await this.#keeper.keep(piece, from);
    this.#dependencies.onPieceKept?.(from, piece.bytes.length);
    this.#driver.react({ type: 'piece', index: piece.index, from });
    this.#waiters.wake();
  }

  /** Takes wrong pieces out of everything, at once; they are fetched again. */
  #lose(indexes: readonly number[], reason: 'damaged' | 'barred-signer' | 'mismatch'): void {
    this.#stopAudit?.abort();
    this.#state = 'running';
    this.#track(this.#partial.forget(indexes));
    this.#waiters.lose(indexes);
    for (const _ of indexes) this.#dependencies.onPieceRejected?.(reason);
    this.#logger.warn({ pieces: indexes.length, reason }, 'pieces are fetched again');
    this.#driver.react({ type: 'pieces-lost', indexes });
    this.#waiters.wake();
  }

  async #commit(): Promise<void> {
    const { store, tracker } = this.#dependencies;
    const { kind, mediaType } = this.#options.source;
    this.#state = 'hashing';
    try {
      await this.#partial.commit({
        ...(kind === 'manifest' && mediaType !== undefined && { mediaType }),
        onVerified: () => {
          if (this.#state !== 'hashing') return;
          this.#state = 'verified';
          this.#waiters.wake();
        },
      });
    } catch (error) {
      if (error instanceof StoreError && error.code === 'digest-mismatch') await this.#mismatched(error);
      else this.#fail(new PullError('store', `${this.blob}: could not be stored`, { cause: error }));
      return;
    }
    tracker.have([this.blob]);
    this.#handle = await store.open(this.blob);
    // It may have been closed while it was hashed.
    if ((this.#state as State) !== 'verified') return;
    this.#state = 'committed';
    this.#end();
  }

  /** Every piece is here, but together they are not the blob: goes on without the wrong ones, or ends. */
  async #mismatched(cause: StoreError): Promise<void> {
    if (this.#state !== 'hashing') return;
    this.#state = 'auditing';
    const stop = new AbortController();
    this.#stopAudit = stop;
    const result = await this.#audit.run(stop.signal).catch((error: unknown) => {
      if (stop.signal.aborted) return undefined;
      throw error;
    });
    this.#dependencies.onAudit?.(result?.found ?? 'stopped');
    if (result === undefined || stop.signal.aborted) return;
    switch (result.found) {
      case 'nothing':
      case 'no-time':
        this.#fail(new PullError('mismatch', `${this.blob}: the bytes do not match the digest`, { cause }));
        return;
      case 'damage':
      case 'barred':
        this.#lose(result.lost, result.found === 'damage' ? 'damaged' : 'barred-signer');
        return;
      case 'difference':
        this.#lose(result.lost, 'mismatch');
        if (result.signer !== undefined) this.#dependencies.barred.convict(result.signer);
        await this.#keep(result.piece, 'origin');
        return;
    }
  }

  #giveUp(why: 'origin-refused' | 'no-progress'): void {
    const error = this.#driver.origin.lastError;
    const cause = error?.code === 'unauthorized' ? undefined : error;
    const code = why === 'no-progress' ? 'no-source' : why;
    const reason = error === undefined ? 'no peer and no origin served it in time' : `origin: ${error.message}`;
    this.#fail(new PullError(code, `${this.blob}: ${reason}`, { cause }));
  }

  #fail(error: Error): void {
    if (this.#state === 'failed' || this.#state === 'committed') return;
    this.#state = 'failed';
    this.#failure = error;
    this.#dependencies.network.withdraw(this.blob);
    this.#end();
    this.#waiters.wake();
  }

  /** Stops everything under way, then lets the partial file go (a committed one is open as the handle by now). */
  #end(): void {
    this.#logEnd();
    this.#stopAudit?.abort();
    this.#driver.close();
    const isWrong = this.#failure instanceof PullError && this.#failure.code === 'mismatch';
    void Promise.allSettled([...this.#work])
      .then(() => (isWrong ? this.#partial.drop() : this.#partial.close()))
      .catch((error: unknown) => this.#logger.warn({ error }, 'closing a partial blob failed'))
      .finally(() => this.#resolveEnded());
  }

  /** One line per pull, under the id of the request that began it. */
  #logEnd(): void {
    const seconds = (this.#dependencies.clock() - this.#startedAtMs) / 1000;
    const facts = { sizeBytes: this.sizeBytes, ...this.#keeper.received, seconds };
    if (this.#state === 'committed') this.#logger.info(facts, 'pulled');
    else this.#logger.warn({ ...facts, reason: this.#failure?.message }, 'pull ended without the blob');
  }
}
