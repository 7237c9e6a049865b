/**
 * One blob on its way here. `BlobSwarm` decides, this class does: it carries out the swarm's actions on the network, the
 * tracker and the origin, feeds back what happened, writes verified pieces to the store and wakes the readers.
 *
 *   fetch ────────► network.fetchPiece ─┐
 *   read-origin ──► OriginReader ───────┼─► partial.write ─► swarm 'piece' ─► publish to peers, wake readers
 *   ask-lease ────► LeaseKeeper         │
 *   complete ─────► partial.commit ─► the last piece is let out, readers go on from the committed file
 *
 * A piece reaches a reader only from disk and only when verified; the blob's last piece waits for the whole hash.
 */
import type { Digest } from '@shoal/oci';
import {
  BlobSwarm,
  DEFAULT_SWARM_OPTIONS,
  type FetchFailure,
  pieceCountOf,
  pieceExtent,
  pieceSizeOf,
  type Random,
  type SwarmAction,
  type SwarmEvent,
} from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import type { Logger } from 'pino';
import type { OriginClient, OriginError } from '../origin/origin-client.ts';
import { PeerError, type PeerNetwork } from '../peers/peer-network.ts';
import { type BlobHandle, type BlobStore, type PartialBlob, StoreError } from '../store/blob-store.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { ByteBudget } from './byte-budget.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { OriginReader } from './origin-reader.ts';
import { PullError } from './pull-error.ts';
import type { PullSource } from './pulls.ts';

/** What pieces on their way from peers may take in memory, per blob. */
const IN_FLIGHT_BYTES = 16 * 1024 * 1024;
const MAX_IN_FLIGHT_PIECES = 32;
const TICK_MS = 100;
/** First byte and stall of a piece from a peer. */
const PIECE_DEADLINE_MS = 2_000;
/** A registry that asks for a longer pause than this is not waited for before the client is answered. */
const MAX_WAIT_MS = 3_000;

export interface BlobPullDependencies {
  store: BlobStore;
  network: PeerNetwork;
  tracker: TrackerClient;
  origin: OriginClient;
  logger: Logger;
  clock: () => number;
  random: Random;
  /** Shared by all pulls. */
  pieceMemory: ByteBudget;
  /** A peer's piece was refused; `reason` is a PeerErrorCode. */
  onPieceRejected?: (reason: string) => void;
}

export interface BlobPullOptions {
  digest: Digest;
  sizeBytes: number;
  zone: string;
  source: PullSource;
  /** Believe no peer: an earlier pull of this digest ended in a mismatch. */
  originOnly: boolean;
}

/** `verified`: the whole blob matched its digest, the file is being made durable. */
type State = 'running' | 'verified' | 'committed' | 'failed';

export class BlobPull {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Resolves when nothing is under way any more, however it ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: BlobPullOptions;
  readonly #dependencies: BlobPullDependencies;
  readonly #partial: PartialBlob;
  readonly #pieceCount: number;
  readonly #swarm: BlobSwarm;
  readonly #origin: OriginReader;
  readonly #lease: LeaseKeeper;
  readonly #logger: Logger;
  readonly #fetches = new Map<string, AbortController>();
  readonly #waiters = new Set<() => void>();
  readonly #work = new Set<Promise<void>>();
  readonly #tick: NodeJS.Timeout;
  #want: { close(): void } | undefined;
  #state: State = 'running';
  #failure: Error | undefined;
  #handle: BlobHandle | undefined;
  #readers = 0;
  readonly #startedAtMs: number;
  readonly #received = { bytesFromPeers: 0, bytesFromOrigin: 0, peers: new Set<string>() };
  #resolveEnded: () => void = () => {};

  constructor(options: BlobPullOptions, partial: PartialBlob, dependencies: BlobPullDependencies) {
    const { digest, sizeBytes, source } = options;
    const { clock, random, logger, origin, tracker } = dependencies;
    this.digest = digest;
    this.sizeBytes = sizeBytes;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#partial = partial;
    this.#pieceCount = pieceCountOf(sizeBytes);
    this.#startedAtMs = clock();
    this.#logger = logger.child({ pullId: source.pullId, digest });
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#swarm = new BlobSwarm(
      {
        ...DEFAULT_SWARM_OPTIONS,
        graceMs: dependencies.network.connected().length > 0 ? DEFAULT_SWARM_OPTIONS.graceMs : 0,
        pieceCount: this.#pieceCount,
        zone: options.zone,
        maxInFlight: Math.min(MAX_IN_FLIGHT_PIECES, Math.max(4, Math.floor(IN_FLIGHT_BYTES / pieceSizeOf(sizeBytes)))),
      },
      partial.pieces,
      random,
      clock(),
    );
    this.#origin = new OriginReader(options, source, {
      origin,
      logger: this.#logger,
      clock,
      onPiece: ({ index, bytes, sha256 }) =>
        this.#keep(index, bytes, sha256, dependencies.network.attest({ digest, sizeBytes, index }, sha256), 'origin'),
      onBytes: (bytes) => this.#lease.progressed(bytes),
      onEvent: (event) => this.#react(event),
    });
    this.#lease = new LeaseKeeper(
      { digest, sizeBytes, registry: () => this.#origin.source.repository.registry },
      tracker,
      {
        onEvent: (event) => this.#react(event),
        onPeers: (peers) => this.#dial(peers),
      },
    );
    this.#tick = setInterval(() => this.#react({ type: 'tick' }), TICK_MS);
  }

  /** Begins; separate from the constructor so that the first actions find everything in place. */
  start(): void {
    if (!this.#options.originOnly) {
      const { network } = this.#dependencies;
      this.#want = network.want(this.digest, {
        map: (peer, zone, sizeBytes, pieces) => {
          if (sizeBytes === this.sizeBytes) this.#react({ type: 'peer-map', peer, zone, pieces });
        },
        have: (peer, index) => this.#react({ type: 'peer-have', peer, index }),
        gone: (peer) => this.#react({ type: 'peer-gone', peer }),
      });
      this.#findPeers();
    }
    this.#react({ type: 'tick' });
  }

  get state(): State {
    return this.#state;
  }

  /** What ended the pull, when it failed. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get originError(): OriginError | undefined {
    return this.#origin.lastError;
  }

  /** The pieces on disk, while the blob is not committed. */
  get partial(): PartialBlob | undefined {
    return this.#state === 'running' || this.#state === 'verified' ? this.#partial : undefined;
  }

  addSource(source: PullSource): void {
    this.#origin.addSource(source);
  }

  /** Whether bytes arrived within the last `withinMs`. */
  progressing(withinMs: number): boolean {
    return this.#partial.pieces.held > 0 && this.#dependencies.clock() - this.#swarm.progressAtMs < withinMs;
  }

  /** Whether nobody serves it now: the origin failed again and no peer offers anything. Decides for a fast 404. */
  hopeless(): boolean {
    const { failuresInARow, lastError } = this.#origin;
    const longWait = lastError?.code === 'rate-limited' && (lastError.retryAfterMs ?? MAX_WAIT_MS) >= MAX_WAIT_MS;
    const failed = failuresInARow >= 2 || (failuresInARow === 1 && longWait);
    return failed && !this.#swarm.peersHelp(this.#dependencies.clock());
  }

  /** A number for `waitFor`; give it back with `readerGone`. */
  addReader(): number {
    return ++this.#readers;
  }

  readerGone(reader: number): void {
    this.#react({ type: 'reader-gone', reader });
  }

  /**
   * Resolves when piece `index` may be read (the last piece: when the whole blob matched its digest).
   * @throws what ended the pull, or the signal's reason
   */
  async waitFor(reader: number, index: number, signal: AbortSignal): Promise<void> {
    if (!this.#partial.pieces.has(index)) this.#react({ type: 'reader', reader, index });
    while (!this.#readable(index)) {
      if (this.#failure !== undefined) throw this.#failure;
      signal.throwIfAborted();
      await this.nextChange(signal);
    }
  }

  /** Resolves at the next piece, at the pull's end, or when the signal fires. */
  nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  /** Bytes that `waitFor` has let through. */
  read(offset: number, length: number): Promise<Buffer> {
    return (this.#handle ?? this.#partial).read(offset, length);
  }

  /** Stops, keeping what is here for a later resume, and frees the committed file. No reader may be left. */
  async close(): Promise<void> {
    if (this.#state === 'running') this.#fail(new PullError('closed', 'the pull was stopped'));
    await this.ended;
    this.#handle?.release();
    this.#handle = undefined;
  }

  #readable(index: number): boolean {
    if (this.#state === 'verified' || this.#state === 'committed') return true;
    return this.#state === 'running' && index < this.#pieceCount - 1 && this.#partial.pieces.has(index);
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  #react(event: SwarmEvent): void {
    if (this.#state !== 'running') return;
    for (const action of this.#swarm.handle(event, this.#dependencies.clock())) this.#do(action);
    if (event.type === 'origin-ended') this.#wake();
  }

  #do(action: SwarmAction): void {
    switch (action.type) {
      case 'fetch':
        this.#track(this.#fetch(action.peer, action.index));
        return;
      case 'cancel':
        this.#fetches.get(`${action.peer} ${action.index}`)?.abort();
        return;
      case 'ask-lease':
        if (this.#options.originOnly) setImmediate(() => this.#react({ type: 'lease-unavailable' }));
        else this.#track(this.#lease.ask(action.starved));
        return;
      case 'read-origin':
        this.#track(this.#origin.read(action.from, action.to));
        return;
      case 'stop-origin':
        this.#origin.stop();
        return;
      case 'release-lease':
        this.#lease.release(action.leaseId, action.done);
        return;
      case 'find-peers':
        if (!this.#options.originOnly) this.#findPeers();
        return;
      case 'complete':
        this.#track(this.#commit());
        return;
      case 'give-up':
        this.#giveUp(action.why);
        return;
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  #findPeers(): void {
    this.#track(
      this.#dependencies.tracker.want([this.digest]).then((found) => this.#dial(found?.get(this.digest) ?? [])),
    );
  }

  #dial(peers: readonly PeerRecord[]): void {
    if (this.#state === 'running' && peers.length > 0) this.#dependencies.network.dial(peers);
  }

  async #fetch(peer: string, index: number): Promise<void> {
    const { digest, sizeBytes } = this;
    const key = `${peer} ${index}`;
    const abort = new AbortController();
    this.#fetches.set(key, abort);
    let giveBack: (() => void) | undefined;
    try {
      giveBack = await this.#dependencies.pieceMemory.take(pieceExtent(sizeBytes, index).length, abort.signal);
      const piece = await this.#dependencies.network.fetchPiece(
        peer,
        { digest, sizeBytes, index },
        { deadlineMs: PIECE_DEADLINE_MS, signal: abort.signal },
      );
      await this.#keep(index, piece.bytes, piece.sha256, piece.attestation, peer);
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof PeerError)) throw error;
      if (error.peerIsToBlame) {
        this.#dependencies.onPieceRejected?.(error.code);
        this.#logger.warn({ peer, index, code: error.code }, `peer: ${error.message}`);
      }
      this.#react({ type: 'fetch-failed', peer, index, why: WHY[error.code], retryAfterMs: error.retryAfterMs });
    } finally {
      giveBack?.();
      if (this.#fetches.get(key) === abort) this.#fetches.delete(key);
    }
  }

  /** A verified piece: to disk, then to everybody. The same piece may come twice; the first one counts. */
  async #keep(
    index: number,
    bytes: Uint8Array,
    sha256: Uint8Array,
    attestation: Uint8Array,
    from: string,
  ): Promise<void> {
    if (this.#state !== 'running') return;
    if (!this.#partial.pieces.has(index)) {
      await this.#partial.write(index, bytes, sha256, attestation);
      this.#count(bytes.length, from);
      this.#dependencies.network.publish(this.digest, this.sizeBytes, index);
    }
    this.#react({ type: 'piece', index, from });
    this.#wake();
  }

  #count(bytes: number, from: string): void {
    if (from === 'origin') {
      this.#received.bytesFromOrigin += bytes;
    } else {
      this.#received.bytesFromPeers += bytes;
      this.#received.peers.add(from);
    }
  }

  /** One line per pull, under the id of the request that began it. */
  #logEnd(): void {
    const { bytesFromPeers, bytesFromOrigin, peers } = this.#received;
    const seconds = (this.#dependencies.clock() - this.#startedAtMs) / 1000;
    const facts = { sizeBytes: this.sizeBytes, bytesFromPeers, bytesFromOrigin, peers: peers.size, seconds };
    if (this.#state === 'committed') this.#logger.info(facts, 'pulled');
    else this.#logger.warn({ ...facts, reason: this.#failure?.message }, 'pull ended without the blob');
  }

  async #commit(): Promise<void> {
    const { source } = this.#options;
    const mediaType = source.kind === 'manifest' ? source.mediaType : undefined;
    try {
      await this.#partial.commit({
        ...(mediaType === undefined ? {} : { mediaType }),
        onVerified: () => {
          this.#state = 'verified';
          this.#wake();
        },
      });
      this.#handle = await this.#dependencies.store.open(this.digest);
      this.#state = 'committed';
      this.#dependencies.tracker.have([this.digest]);
      this.#end();
    } catch (error) {
      const mismatch = error instanceof StoreError && error.code === 'digest-mismatch';
      if (mismatch) {
        this.#fail(new PullError('mismatch', `${this.digest}: the bytes do not match the digest`, { cause: error }));
      } else {
        this.#fail(new PullError('store', `${this.digest}: could not be stored`, { cause: error }));
      }
    }
  }

  #giveUp(why: 'origin-refused' | 'no-progress'): void {
    const cause = this.#origin.lastError;
    const code = why === 'no-progress' ? 'no-source' : why;
    const reason = cause === undefined ? 'no peer and no origin served it in time' : `origin: ${cause.message}`;
    this.#fail(new PullError(code, `${this.digest}: ${reason}`, { cause }));
  }

  #fail(error: Error): void {
    if (this.#state === 'failed' || this.#state === 'committed') return;
    this.#state = 'failed';
    this.#failure = error;
    this.#dependencies.network.withdraw(this.digest);
    this.#end();
    this.#wake();
  }

  /** Stops everything under way, then lets the partial file go (a committed one is open as the handle by now). */
  #end(): void {
    this.#logEnd();
    clearInterval(this.#tick);
    this.#want?.close();
    this.#dependencies.tracker.unwant([this.digest]);
    this.#origin.stop();
    this.#lease.close();
    for (const abort of this.#fetches.values()) abort.abort();
    void Promise.allSettled([...this.#work])
      .then(() => this.#partial.close())
      .catch((error: unknown) => this.#logger.warn({ error }, 'closing a partial blob failed'))
      .finally(() => this.#resolveEnded());
  }
}

const WHY: Record<PeerError['code'], FetchFailure> = {
  busy: 'busy',
  'not-held': 'not-held',
  gone: 'gone',
  timeout: 'slow',
  corrupt: 'corrupt',
  protocol: 'corrupt',
  cancelled: 'cancelled',
};
