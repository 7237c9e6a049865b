/**
 * Carries out what `BlobSwarm` decides for one blob, and tells it what happened:
 *
 *   fetch ────────────► PieceFetcher ─┐
 *   read-origin ──────► OriginReader ─┴─► onPiece: kept and verified ─► 'piece'
 *   ask-lease ────────► LeaseKeeper ────► 'lease-granted', 'lease-refused', …
 *   find-peers ───────► tracker ────────► Neighbourhood dials
 *   complete, give-up ► the pull
 */
import { registryOf } from '@shoal/oci';
import {
  BlobSwarm,
  DEFAULT_SWARM_OPTIONS,
  type LeaseSource,
  MAX_PATIENCE,
  mostInFlight,
  type PieceMap,
  pieceCountOf,
  pieceSizeOf,
  type Random,
  type SwarmAction,
  type SwarmEvent,
} from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import type { Logger } from 'pino';
import type { OriginClient } from '../origin/origin-client.ts';
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { BlobPullOptions } from './blob-pull.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Neighbourhood, type UnreachableMembers } from './neighbourhood.ts';
import { OriginReader } from './origin-reader.ts';
import type { OriginTurn, OriginTurns } from './origin-turns.ts';
import { PieceFetcher } from './piece-fetcher.ts';
import type { KeptPiece } from './piece-keeper.ts';
import type { PieceMemory } from './piece-memory.ts';
import type { PullPace } from './pull-pace.ts';
import type { WitnessDuty } from './witness-duty.ts';

const TICK_MS = 100;
/** Blobs in turn that are told apart by those that serve them. */
const PLACES = 4;
/** Another blob is read from the origin first. */
const TURN_RETRY_MS = 100;

export interface SwarmDriverDependencies {
  network: PeerNetwork;
  tracker: TrackerClient;
  origin: OriginClient;
  witnessDuty: WitnessDuty;
  unreachable: UnreachableMembers;
  clock: () => number;
  random: Random;
  /** Shared by all pulls. */
  pieceMemory: PieceMemory;
  /** Shared by all pulls. */
  originTurns: OriginTurns;
  onPieceRejected?: (reason: string) => void;
  onPieceFailed?: (cause: string) => void;
  onLease?: (source: LeaseSource) => void;
}

export interface SwarmDriverEvents {
  /** A piece came in and was verified; resolves when it is on the disk. */
  onPiece(piece: KeptPiece, from: string): Promise<void>;
  onOriginEnded(): void;
  onComplete(): void;
  onGiveUp(why: 'origin-refused' | 'no-progress'): void;
  /** Something was begun that goes on by itself. */
  track(work: Promise<void>): void;
}

export class SwarmDriver {
  readonly origin: OriginReader;
  readonly leases: LeaseKeeper;
  readonly #options: BlobPullOptions;
  readonly #dependencies: SwarmDriverDependencies;
  readonly #events: SwarmDriverEvents;
  readonly #swarm: BlobSwarm;
  readonly #fetcher: PieceFetcher;
  readonly #neighbourhood: Neighbourhood;
  readonly #turn: OriginTurn;
  readonly #tick: NodeJS.Timeout;
  #want: { close(): void } | undefined;
  #closed = false;

  constructor(
    options: BlobPullOptions,
    have: PieceMap,
    { logger, pace, ...dependencies }: SwarmDriverDependencies & { logger: Logger; pace: PullPace },
    events: SwarmDriverEvents,
  ) {
    const { blob, sizeBytes, source, zone } = options;
    const { network, tracker, origin, clock, random, pieceMemory, onPieceRejected, onPieceFailed, onLease } =
      dependencies;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#events = events;
    const connected = network.connected().length;
    this.#swarm = new BlobSwarm(
      {
        ...DEFAULT_SWARM_OPTIONS,
        ...(connected === 0 && { graceMs: 0, listenMs: 0 }),
        connected,
        clusterSize: tracker.clusterSize(),
        pieceCount: pieceCountOf(sizeBytes),
        zone,
        self: network.peerId,
        blob,
        maxInFlight: mostInFlight(pieceSizeOf(sizeBytes)),
      },
      have,
      random,
      clock(),
    );
    const onEvent = (event: SwarmEvent): void => this.react(event);
    this.#fetcher = new PieceFetcher(options, {
      network,
      logger,
      pieceMemory,
      pace,
      onRejected: (reason) => onPieceRejected?.(reason),
      onFailed: (cause) => onPieceFailed?.(cause),
      onPiece: events.onPiece,
      onEvent,
    });
    this.origin = new OriginReader(options, source, {
      origin,
      logger,
      clock,
      pace,
      onPiece: ({ index, bytes, sha256 }) => {
        const attestation = network.attest({ blob, sizeBytes, index }, sha256);
        return events.onPiece({ index, bytes, sha256, attestation }, 'origin');
      },
      onBytes: (bytes) => this.leases.progressed(bytes),
      onRanges: (from, honoured) => this.leases.rangesKnown(from, honoured),
      onEvent,
    });
    const registry = registryOf(blob);
    this.leases = new LeaseKeeper(options, tracker, {
      onEvent,
      onPeers: (peers) => {
        if (!this.#closed) this.#neighbourhood.seek(peers);
      },
      unreachable: () => this.#neighbourhood.unreachable(this.#swarm.progressAtMs),
      onWitness: (index) => dependencies.witnessDuty.testify(options, this.origin.source, index),
      onGranted: (leaseSource) => onLease?.(leaseSource),
      progress: (leaseId) => this.#swarm.leaseProgress(leaseId),
    });
    this.#turn = dependencies.originTurns.begin({
      sizeBytes,
      registry,
      reads: () => this.leases.busy,
      inBackground: () => pace.inBackground,
    });
    this.#neighbourhood = new Neighbourhood({ network, unreachable: dependencies.unreachable, clock });
    this.#tick = setInterval(() => this.#onTick(), TICK_MS);
  }

  /** Begins; separate from the constructor so that the first actions find everything in place. */
  start(): void {
    const { blob, sizeBytes: ownSize, originOnly } = this.#options;
    if (!originOnly) {
      this.#want = this.#dependencies.network.want(blob, {
        wants: (peer, zone) => this.react({ type: 'peer-wants', peer, zone }),
        map: (peer, zone, sizeBytes, pieces) => {
          this.#neighbourhood.heard(peer);
          if (sizeBytes === ownSize) this.react({ type: 'peer-map', peer, zone, pieces });
        },
        haves: (peer, indexes) => this.react({ type: 'peer-have', peer, indexes }),
        gone: (peer) => {
          this.#neighbourhood.gone(peer);
          this.react({ type: 'peer-gone', peer });
        },
      });
    }
    this.#onTick();
    setTimeout(() => this.#onTick(), DEFAULT_SWARM_OPTIONS.listenMs + 1).unref();
  }

  /** The time of the last sign of life from any source. */
  get progressAtMs(): number {
    return this.#swarm.progressAtMs;
  }

  /** Whether peers are asked, or could be asked, for something that is missing. */
  peersHelp(): boolean {
    return this.#swarm.peersHelp(this.#dependencies.clock());
  }

  react(event: SwarmEvent): void {
    if (this.#closed) return;
    for (const action of this.#swarm.handle(event, this.#dependencies.clock())) this.#do(action);
    if (event.type === 'origin-ended') this.#events.onOriginEnded();
  }

  /** Members that hold or want the blob, as the tracker says. */
  found(peers: readonly PeerRecord[]): void {
    if (!this.#closed && !this.#options.originOnly) this.#neighbourhood.meet(peers, this.#swarm.neighbourCount);
  }

  /** Stops everything that was begun. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#tick);
    this.#turn.end();
    this.#want?.close();
    this.#dependencies.tracker.unwant([this.#options.blob]);
    this.origin.stop();
    this.leases.close();
    this.#fetcher.close();
  }

  #onTick(): void {
    this.react({ type: 'tick', behind: this.#turn.earlier() });
  }

  #do(action: SwarmAction): void {
    switch (action.type) {
      case 'fetch':
        this.#events.track(this.#fetcher.fetch({ ...action, patience: this.#patience(action.patience) }));
        return;
      case 'cancel':
        this.#fetcher.cancel(action.peer, action.index);
        return;
      case 'ask-lease':
        if (this.#options.originOnly) setImmediate(() => this.react({ type: 'lease-unavailable' }));
        else if (action.starved || this.#turn.isNow(action.crowd)) this.#events.track(this.leases.ask(action));
        else setImmediate(() => this.react({ type: 'lease-refused', retryAfterMs: TURN_RETRY_MS }));
        return;
      case 'read-origin':
        this.#events.track(this.origin.read(action));
        return;
      case 'limit-origin':
        this.origin.limit(action.to);
        return;
      case 'stop-origin':
        this.origin.stop();
        return;
      case 'release-lease':
        this.leases.release(action.leaseId, action.how, action.next);
        return;
      case 'find-peers':
        if (!this.#options.originOnly) this.#findPeers();
        return;
      case 'complete':
        this.#turn.end();
        this.#events.onComplete();
        return;
      case 'give-up':
        this.#events.onGiveUp(action.why);
        return;
    }
  }

  /** What was begun first is served first: a client can unpack a layer when those before it are there. */
  #patience(patience: number): number {
    const place = Math.min(this.#turn.earlier(), PLACES - 1);
    return Math.floor((place * MAX_PATIENCE + patience) / PLACES);
  }

  #findPeers(): void {
    const { blob } = this.#options;
    const finding = this.#dependencies.tracker.want([blob]).then((found) => this.found(found?.get(blob) ?? []));
    this.#events.track(finding);
  }
}
