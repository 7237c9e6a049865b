/**
 * All pulls of this agent, one per blob of a registry. Decides where a request's bytes come from:
 *
 *   committed here ──────────────► StoreReader
 *   under way ───────────────────► PullReader on the pull under way
 *   size known, room in store ───► a new BlobPull, PullReader on it
 *   otherwise ───────────────────► passThrough, straight from the origin
 *
 * A pull that nobody reads any more goes on for a moment, because aborted clients come back, then stops and stays resumable.
 */
import { type BlobId, blobIdOf, type Digest, digestOf } from '@shoal/oci';
import { pieceSizeOf } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import { OriginError } from '../origin/origin-client.ts';
import { type PartialBlob, StoreError } from '../store/blob-store.ts';
import { PullTrace } from '../tracing/pull-trace.ts';
import { BarredMembers } from './barred-members.ts';
import { BlobPull, type BlobPullDependencies, type PullProgress } from './blob-pull.ts';
import { findSize, type SizeSources } from './blob-size.ts';
import { Neighbourhood, UnreachableMembers } from './neighbourhood.ts';
import { sharedNameOf } from './node-registry.ts';
import { type PassedRange, passThrough } from './pass-through.ts';
import { PullError } from './pull-error.ts';
import { PullReader } from './pull-reader.ts';
import { type BlobReader, isSameSource, type PullSource, type Pulls } from './pulls.ts';
import { StoreReader } from './store-reader.ts';
import { WitnessDuty } from './witness-duty.ts';

/** A client gets an answer, good or bad, within this time. */
const DECIDE_WITHIN_MS = 8_000;
/** A pull whose source is at work needs no piece yet to be promised to the client when time is up. */
const AT_WORK_MS = 3_000;
const LINGER_MS = 10_000;
/** How long a blob that ended in a mismatch is read from the origin alone. */
const DISTRUST_MS = 10 * 60_000;
/** How long the blobs of a served manifest are looked for before anybody asked for them. */
const EXPECT_MS = 60_000;

export interface PullRegistryOptions {
  zone: string;
}

export interface PullRegistryDependencies extends Omit<BlobPullDependencies, 'barred' | 'witnessDuty' | 'unreachable'> {
  /** Bytes sent to clients from what was in the store already. */
  onStoreBytes?: (bytes: number) => void;
  /** A client asked for a blob: whether it was in the store already. */
  onLookup?: (isHit: boolean) => void;
  onPullEnded?: (result: 'done' | 'failed' | 'stopped', source: BlobPull['source'], seconds: number) => void;
}

interface Entry {
  pull: BlobPull;
  /** Where the request that began it is traced. */
  trace: PullTrace | undefined;
  readers: number;
  linger: NodeJS.Timeout | undefined;
}

export class PullRegistry implements Pulls {
  readonly #options: PullRegistryOptions;
  readonly #dependencies: PullRegistryDependencies & BlobPullDependencies;
  /** For blobs that are not being pulled yet. */
  readonly #neighbourhood: Neighbourhood;
  readonly #entries = new Map<BlobId, Entry>();
  /** Entries being made, so that simultaneous requests make one pull. */
  readonly #opening = new Map<BlobId, { made: Promise<Entry | undefined>; source: PullSource }>();
  readonly #distrusted = new LRUCache<BlobId, true>({ max: 1_000, ttl: DISTRUST_MS });
  readonly #expecting = new Map<BlobId, NodeJS.Timeout>();
  #draining = false;
  #closed = false;

  constructor(options: PullRegistryOptions, dependencies: PullRegistryDependencies) {
    const { tracker, network } = dependencies;
    const onChange = (): void => {
      for (const { pull } of this.#entries.values()) pull.barredChanged();
    };
    this.#options = options;
    this.#dependencies = {
      ...dependencies,
      barred: new BarredMembers({ tracker, network, onChange }),
      witnessDuty: new WitnessDuty(dependencies),
      unreachable: new UnreachableMembers(),
    };
    this.#neighbourhood = new Neighbourhood(this.#dependencies);
  }

  async open(digest: Digest, source: PullSource, start: number, signal: AbortSignal): Promise<BlobReader> {
    const blob = this.#idOf(source.repository.registry, digest);
    if (this.#closed) throw new PullError('closed', 'the agent is stopping');
    const { store, onStoreBytes, onLookup } = this.#dependencies;
    const handle = await store.open(blob);
    onLookup?.(handle !== undefined);
    if (handle !== undefined) {
      source.span?.set({ 'shoal.source': 'store' });
      return new StoreReader(handle, { store, onBytes: (bytes) => onStoreBytes?.(bytes) });
    }
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(DECIDE_WITHIN_MS)]);
    const entry = await this.#entry(blob, source, deadline);
    if (entry === undefined) return this.#openPassThrough(blob, source, start, signal, deadline);
    entry.pull.addSource(source);
    if (entry.trace !== undefined) source.span?.link(entry.trace.span);
    const reader = this.#reader(entry, source);
    try {
      await this.#decided(entry.pull, source, start, signal, deadline);
      return reader;
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  expect(registry: string, digests: readonly Digest[]): void {
    const blobs = digests.map((digest) => this.#idOf(registry, digest));
    void this.#expect(blobs).catch((error: unknown) => this.#dependencies.logger.debug({ error }, 'expecting blobs'));
  }

  /** The partial blob of a pull under way: what `Holdings` serves to peers. */
  partial(blob: BlobId): PartialBlob | undefined {
    return this.#entries.get(blob)?.pull.partial;
  }

  /** Members that hold or want a blob that this agent wants, as the tracker says. */
  found(blob: BlobId, peers: readonly PeerRecord[]): void {
    const entry = this.#entries.get(blob);
    if (entry !== undefined) entry.pull.found(peers);
    else if (!this.#closed) this.#neighbourhood.meet(peers, 0);
  }

  /** To be called when the tracker bars or suspends others than before. */
  barredChanged(): void {
    this.#dependencies.barred.refresh();
  }

  openCount(): number {
    return this.#entries.size;
  }

  /** The pulls under way, the oldest first. */
  progress(): PullProgress[] {
    return [...this.#entries.values()].map(({ pull }) => pull.progress());
  }

  /** Begins nothing any more that nobody reads: what nobody reads now stops, and the rest stops with its last reader. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#dependencies.witnessDuty.close();
    for (const timer of this.#expecting.values()) clearTimeout(timer);
    this.#expecting.clear();
    await Promise.all([...this.#entries].map(([blob, entry]) => entry.readers === 0 && this.#stop(blob, entry)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.drain();
    await Promise.all([...this.#entries].map(([blob, entry]) => this.#stop(blob, entry)));
  }

  #idOf(registry: string, digest: Digest): BlobId {
    return blobIdOf(sharedNameOf(registry, this.#dependencies.network.peerId), digest);
  }

  async #entry(blob: BlobId, source: PullSource, deadline: AbortSignal): Promise<Entry | undefined> {
    for (;;) {
      const entry = this.#entries.get(blob);
      if (entry !== undefined && entry.pull.state !== 'failed') return entry;
      if (entry !== undefined) await entry.pull.ended;
      const opening = this.#opening.get(blob);
      if (opening === undefined) {
        const made = this.#make(blob, source, deadline).finally(() => this.#opening.delete(blob));
        this.#opening.set(blob, { made, source });
        return made;
      }
      if (isSameSource(opening.source, source)) return opening.made;
      // What the registry says to another client is not this one's answer.
      const other = await opening.made.catch(() => 'failed' as const);
      if (other !== 'failed') return other;
      deadline.throwIfAborted();
    }
  }

  /** Undefined when the blob cannot be kept. */
  async #make(blob: BlobId, source: PullSource, deadline: AbortSignal): Promise<Entry | undefined> {
    const { store, logger, clock } = this.#dependencies;
    const sizeBytes = await findSize(blob, source, this.#sizeSources(blob), deadline);
    if (sizeBytes === undefined) return undefined;
    let partial: PartialBlob;
    try {
      partial = await store.partial(blob, sizeBytes);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      logger.warn({ blob, sizeBytes, code: error.code }, `not kept, passed through: ${error.message}`);
      return undefined;
    }
    const originOnly = this.#distrusted.has(blob);
    const options = { blob, sizeBytes, zone: this.#options.zone, source, originOnly };
    const trace = source.span && new PullTrace(source.span, options, { ...this.#dependencies, now: clock });
    const pull = new BlobPull(options, partial, trace === undefined ? this.#dependencies : this.#watchedBy(trace));
    const entry: Entry = { pull, trace, readers: 0, linger: undefined };
    this.#entries.set(blob, entry);
    const startedAtMs = clock();
    void entry.pull.ended.then(() => this.#pullEnded(blob, entry, (clock() - startedAtMs) / 1000));
    entry.pull.start();
    this.#lingerIfUnread(blob, entry);
    return entry;
  }

  #watchedBy(trace: PullTrace): BlobPullDependencies {
    const { onPieceFailed } = this.#dependencies;
    return {
      ...this.#dependencies,
      origin: trace.origin,
      tracker: trace.tracker,
      onPieceKept: (from, sizeBytes) => trace.pieceKept(from, sizeBytes),
      onPieceFailed: (cause) => {
        onPieceFailed?.(cause);
        trace.pieceFailed(cause);
      },
    };
  }

  #sizeSources(blob: BlobId): SizeSources {
    const { origin, network, tracker } = this.#dependencies;
    return { origin, network, tracker, onPeers: (peers) => this.found(blob, peers) };
  }

  #pullEnded(blob: BlobId, entry: Entry, seconds: number): void {
    const { failure } = entry.pull;
    const code = failure instanceof PullError ? failure.code : undefined;
    if (code === 'mismatch') this.#distrusted.set(blob, true);
    const result = failure === undefined ? 'done' : code === 'closed' ? 'stopped' : 'failed';
    this.#dependencies.onPullEnded?.(result, entry.pull.source, seconds);
    entry.trace?.end(result, entry.pull.source);
    if (failure !== undefined && this.#entries.get(blob) === entry) this.#entries.delete(blob);
    else this.#lingerIfUnread(blob, entry);
  }

  #reader(entry: Entry, source: PullSource): PullReader {
    const { blob } = entry.pull;
    entry.readers++;
    clearTimeout(entry.linger);
    const through = (range: PassedRange, signal: AbortSignal): AsyncIterable<Uint8Array> =>
      passThrough(this.#dependencies.origin, source, digestOf(blob), range, signal);
    return new PullReader(entry.pull, source.mediaType, through, () => {
      entry.readers--;
      source.span?.set({ 'shoal.source': entry.pull.source });
      // Nobody comes back for what no client asked for.
      this.#lingerIfUnread(blob, entry, entry.pull.inBackground ? 0 : LINGER_MS);
    });
  }

  #lingerIfUnread(blob: BlobId, entry: Entry, lingerMs = LINGER_MS): void {
    clearTimeout(entry.linger);
    if (entry.readers > 0 || this.#entries.get(blob) !== entry) return;
    const delayMs = entry.pull.state === 'committed' || this.#draining ? 0 : lingerMs;
    entry.linger = setTimeout(() => {
      if (entry.readers === 0) void this.#stop(blob, entry);
    }, delayMs);
  }

  async #stop(blob: BlobId, entry: Entry): Promise<void> {
    clearTimeout(entry.linger);
    await entry.pull.close();
    if (this.#entries.get(blob) === entry) this.#entries.delete(blob);
  }

  /** Waits until the client can be promised an answer. @throws PullError, OriginError */
  async #decided(
    pull: BlobPull,
    source: PullSource,
    start: number,
    signal: AbortSignal,
    deadline: AbortSignal,
  ): Promise<void> {
    if (start > 0 && start >= pull.sizeBytes) return;
    const index = Math.floor(start / pieceSizeOf(pull.sizeBytes));
    const number = pull.addReader();
    try {
      const arrived = new AbortController();
      const waiting = pull.waitFor(number, index, AbortSignal.any([deadline, arrived.signal]));
      const doomed = this.#doomed(pull, source, AbortSignal.any([deadline, arrived.signal]));
      await Promise.race([waiting, doomed]).finally(() => arrived.abort());
      await Promise.allSettled([waiting, doomed]);
    } catch (error) {
      signal.throwIfAborted();
      if (deadline.aborted && pull.progressing(AT_WORK_MS)) return;
      if (pull.failure !== undefined) throw pull.originErrorFor(source) ?? pull.failure;
      throw (
        pull.originErrorFor(source) ??
        (deadline.aborted ? new PullError('no-source', `${pull.blob}: no source in time`) : error)
      );
    } finally {
      pull.readerGone(number);
    }
  }

  /** Rejects as soon as nobody serves the blob; resolves never before the signal. */
  async #doomed(pull: BlobPull, source: PullSource, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (pull.hopeless()) throw pull.originErrorFor(source) ?? new PullError('no-source', `${pull.blob}: no source`);
      await pull.nextChange(signal);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async #openPassThrough(
    blob: BlobId,
    source: PullSource,
    start: number,
    signal: AbortSignal,
    deadline: AbortSignal,
  ): Promise<BlobReader> {
    const { origin } = this.#dependencies;
    source.span?.set({ 'shoal.source': 'origin', 'shoal.kept': false });
    const digest = digestOf(blob);
    const sizeBytes = await findSize(blob, source, this.#sizeSources(blob), deadline);
    const stop = new AbortController();
    // The first bytes decide: an origin that refuses must become a 404, not a cut body.
    const body = passThrough(origin, source, digest, { start, end: undefined }, AbortSignal.any([signal, stop.signal]));
    const close = (): void => {
      stop.abort();
      // Lets the connection go; whatever it was doing ended with the abort.
      body.return(undefined).catch(() => {});
    };
    let head: IteratorResult<Uint8Array> | undefined;
    try {
      head = await Promise.race([body.next(), rejectOn(deadline)]);
    } catch (error) {
      close();
      throw error;
    }
    return {
      digest,
      sizeBytes,
      mediaType: source.mediaType,
      async *bytes(from, end, readSignal) {
        const prepared = head;
        head = undefined;
        const toTheEnd = end === undefined || end === sizeBytes;
        if (prepared !== undefined && from === start && toTheEnd) {
          if (prepared.done !== true) yield prepared.value;
          yield* body;
          return;
        }
        close();
        yield* passThrough(origin, source, digest, { start: from, end: toTheEnd ? undefined : end }, readSignal);
      },
      close,
    };
  }

  async #expect(blobs: readonly BlobId[]): Promise<void> {
    const { store, tracker } = this.#dependencies;
    const missing: BlobId[] = [];
    for (const blob of blobs) {
      if (this.#entries.has(blob) || this.#expecting.has(blob)) continue;
      if ((await store.find(blob)) === undefined) missing.push(blob);
    }
    if (missing.length === 0 || this.#draining) return;
    for (const blob of missing) {
      const forget = (): void => {
        this.#expecting.delete(blob);
        if (!this.#entries.has(blob)) tracker.unwant([blob]);
      };
      this.#expecting.set(blob, setTimeout(forget, EXPECT_MS).unref());
    }
    const found = await tracker.want(missing);
    for (const [blob, peers] of found ?? []) this.found(blob, peers);
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fire = (): void => reject(new OriginError('timeout', 'the origin did not answer in time'));
    if (signal.aborted) fire();
    else signal.addEventListener('abort', fire, { once: true });
  });
}
