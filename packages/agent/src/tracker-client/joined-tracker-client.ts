/**
 * The tracker, as this agent sees it. Calls go straight out while the tracker is up, and give nothing at once while it
 * is not; one loop in the background owns joining and repeating, and is the only one that tries a tracker that is down.
 *
 *   start ─► round ─► up ─► sleep announceEveryMs ─► round ─► …      a round: join where needed, then repeat
 *              │       │      └ woken early: a connection ended, a session was refused, a call failed
 *              │       └ any call without an answer ─► down, next address, woken
 *              └ no tracker answered ─► down ─► sleep the back-off ─► round
 *
 * A new instance in any answer (the tracker restarted, or another replica took over) makes everything news again.
 */
import type { BlobId } from '@shoal/oci';
import type { Random } from '@shoal/swarm';
import {
  type LeaseAnswer,
  type LeaseRenewalAnswer,
  type LeaseRequest,
  leaseAnswerSchema,
  leaseRenewalAnswerSchema,
  type NodeReport,
  type PeerRecord,
  type ReferenceLookup,
  type ReferenceQuery,
  type ReferenceRecord,
  type ReferenceReport,
  type ReferenceTurn,
  type ReportAnswer,
  referenceRecordSchema,
  referenceTurnSchema,
  reportAnswerSchema,
} from '@shoal/wire';
import type { Logger } from 'pino';
import { Announcer } from './announcer.ts';
import { CallError } from './call-error.ts';
import { NodeReporter } from './node-reporter.ts';
import { OrderCalls, type TrackerOrders } from './order-calls.ts';
import type { Contradiction, LeaseEnd, LeaseProgress, Membership, TrackerClient } from './tracker-client.ts';
import { TrackerLink } from './tracker-link.ts';

/** A crowd of 10,000 agents that ask at the same moment keeps one tracker busy for two seconds: that is no outage. */
const DEFAULT_TRACKER_DEADLINE_MS = 3_000;
const DEFAULT_ANNOUNCE_EVERY_MS = 10_000;
const DEFAULT_MIN_BACKOFF_MS = 1_000;
const DEFAULT_MAX_BACKOFF_MS = 15_000;
/** Each holds a connection for as long as it waits; the others are for what cannot. */
const MAX_WAITING_LOOKUPS = 3;
/** Between rounds, however often the loop is woken. */
const MIN_ROUND_GAP_MS = 250;

export interface TrackerClientOptions {
  /** https URLs of one tracker's replicas; the next one is tried when one fails. May be empty. */
  trackers: readonly string[];
  joinToken: string;
  zone: string;
  /** What people call this node. @default it has no name */
  name?: string;
  /** Whether this agent carries out orders to prefetch. @default false */
  takesOrders?: boolean;
  /** For each call that somebody waits for. @default 3000 */
  deadlineMs?: number;
  /** @default 10000 */
  announceEveryMs?: number;
  /** Between tries of a tracker that refuses connections. @default 1000 */
  minBackoffMs?: number;
  /** Up to which tries of a tracker that is overloaded or refuses this agent are spread out. @default 15000 */
  maxBackoffMs?: number;
}

export interface TrackerClientDependencies {
  identity: { peerId: string; sign: (bytes: Uint8Array) => Uint8Array };
  /** Multiaddrs without /p2p where this agent can be dialled now. */
  addresses: () => string[];
  /** Peers of a wanted blob, with each announcement. */
  onPeers?: (blob: BlobId, peers: PeerRecord[]) => void;
  /** How many more members this agent would like to know, whatever they hold. @default () => 0 */
  acquaintancesWanted?: () => number;
  onAcquaintances?: (peers: readonly PeerRecord[]) => void;
  /** There are orders to prefetch for this agent; called again with each announcement until it says how far it is. */
  onOrders?: () => void;
  /** `barred()` is another set than before: members were added to it, or are not suspected any more. */
  onBarred?: () => void;
  /** To be kept on disk. */
  onMembership?: (membership: Membership) => void;
  /** How this node is, for the people who look at the tracker's page. @default nothing is told */
  report?: (() => NodeReport) | undefined;
  savedMembership?: Membership | undefined;
  /** A call ended: `ok`, or why nothing came of it. */
  onCall?: ((path: string, result: string, seconds: number) => void) | undefined;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** @default Math.random */
  random?: Random;
}

const FATAL_CODES = ['WRONG_JOIN_TOKEN', 'WRONG_PIN', 'CLOCK_SKEW', 'BARRED'] as const;
type FatalJoinCode = (typeof FATAL_CODES)[number];
/** A fatal one does not heal by itself: somebody has to correct the configuration, the clock or the membership. */
export type JoinOutcome = 'joined' | 'unreachable' | { fatal: FatalJoinCode; message: string };

export interface StartableTrackerClient extends TrackerClient {
  readonly orders: TrackerOrders;
  /** Tries every tracker once. Unless the outcome is fatal, the client then goes on by itself. */
  start(): Promise<JoinOutcome>;
  /**
   * Has the tracker forget what this agent holds and wants, and its leases, so that it is named to nobody from here on; pulls
   * under way may still ask for leases. Resolves, at the latest after a few seconds, also when the tracker did not hear it.
   */
  leave(): Promise<void>;
}

export function createTrackerClient(
  options: TrackerClientOptions,
  dependencies: TrackerClientDependencies,
): StartableTrackerClient {
  return new JoinedTrackerClient(options, dependencies);
}

class JoinedTrackerClient implements StartableTrackerClient {
  readonly orders: TrackerOrders;
  readonly #options: Required<Omit<TrackerClientOptions, 'name' | 'takesOrders'>>;
  readonly #dependencies: TrackerClientDependencies;
  readonly #random: Random;
  readonly #link: TrackerLink;
  readonly #announcer: Announcer;
  readonly #reporter: NodeReporter | undefined;
  #barred: ReadonlySet<string> = new Set();
  #waitingLookups = 0;
  #backoffMs: number;
  #loop: Promise<void> | undefined;
  #woken = false;
  #wake: () => void = () => undefined;

  constructor(options: TrackerClientOptions, dependencies: TrackerClientDependencies) {
    this.#options = {
      deadlineMs: DEFAULT_TRACKER_DEADLINE_MS,
      announceEveryMs: DEFAULT_ANNOUNCE_EVERY_MS,
      minBackoffMs: DEFAULT_MIN_BACKOFF_MS,
      maxBackoffMs: DEFAULT_MAX_BACKOFF_MS,
      ...options,
    };
    this.#dependencies = dependencies;
    this.#random = dependencies.random ?? Math.random;
    this.#backoffMs = this.#options.minBackoffMs;
    this.#link = new TrackerLink(this.#options, dependencies, {
      onNewInstance: (visiting) => {
        this.#announcer.forgetHeard();
        this.#reporter?.forgetTold();
        if (!visiting) this.#wakeUp();
      },
      onTrouble: () => this.#wakeUp(),
    });
    this.orders = new OrderCalls(this.#link);
    const { report, clock } = dependencies;
    this.#reporter = report && new NodeReporter({ link: this.#link, report, clock, random: this.#random });
    this.#announcer = new Announcer({
      link: this.#link,
      name: options.name,
      takesOrders: options.takesOrders,
      onOrders: () => dependencies.onOrders?.(),
      onReportEvery: (everyMs) => this.#reporter?.setEvery(everyMs),
      addresses: dependencies.addresses,
      onPeers: (blob, peers) => dependencies.onPeers?.(blob, peers),
      acquaintancesWanted: () => dependencies.acquaintancesWanted?.() ?? 0,
      onAcquaintances: (peers) => dependencies.onAcquaintances?.(peers),
      onBarred: (peerIds) => this.#hearBarred(peerIds),
    });
  }

  async start(): Promise<JoinOutcome> {
    if (this.#options.trackers.length === 0) return 'unreachable';
    if (!this.#link.hasToken) {
      return { fatal: 'WRONG_JOIN_TOKEN', message: 'the join token is not of the form shoal1.<pin>.<secret>' };
    }
    const failure = await this.#round();
    const fatal = failure && FATAL_CODES.find((code) => code === failure.code);
    if (failure !== undefined && fatal !== undefined) return { fatal, message: failure.message };
    this.#loop ??= this.#run(failure);
    return failure === undefined ? 'joined' : 'unreachable';
  }

  membership(): Membership | undefined {
    return this.#link.membership();
  }

  reachable(): boolean {
    return this.#link.up;
  }

  clusterSize(): number {
    return this.#announcer.clusterSize;
  }

  want(blobs: readonly BlobId[]): Promise<Map<BlobId, PeerRecord[]> | undefined> {
    return this.#announcer.want(blobs);
  }

  unwant(blobs: readonly BlobId[]): void {
    this.#announcer.unwant(blobs);
  }

  have(blobs: readonly BlobId[]): void {
    this.#announcer.have(blobs);
  }

  withdraw(blobs: readonly BlobId[]): void {
    this.#announcer.withdraw(blobs);
  }

  async lease(request: LeaseRequest): Promise<LeaseAnswer | undefined> {
    const answer = await this.#link.ask('/v1/lease', request, leaseAnswerSchema);
    if (answer !== undefined) this.#hearBarred(answer.barred);
    return answer;
  }

  renew(leaseId: string, progress: LeaseProgress): Promise<LeaseRenewalAnswer | undefined> {
    return this.#link.ask('/v1/lease/renew', { leaseId, ...progress }, leaseRenewalAnswerSchema);
  }

  release(leaseId: string, end: LeaseEnd): void {
    this.#link.tell('/v1/lease/release', { leaseId, ...end });
  }

  async report({ claim, counter, ...piece }: Contradiction): Promise<ReportAnswer | undefined> {
    const body = { ...piece, claim: claim && base64(claim), counter: base64(counter) };
    const answer = await this.#link.ask('/v1/report', body, reportAnswerSchema);
    if (answer !== undefined) this.#hearBarred([...new Set([...this.#barred, ...answer.barred])]);
    return answer;
  }

  barred(): ReadonlySet<string> {
    return this.#barred;
  }

  async lookUpReference(lookup: ReferenceLookup): Promise<ReferenceTurn | undefined> {
    const mayWait = this.#waitingLookups < MAX_WAITING_LOOKUPS;
    const body = mayWait ? lookup : { ...lookup, waitMs: 0 };
    const deadlineMs = this.#options.deadlineMs + body.waitMs;
    if (mayWait) this.#waitingLookups++;
    try {
      return await this.#link.ask('/v1/reference/ask', body, referenceTurnSchema, deadlineMs);
    } finally {
      if (mayWait) this.#waitingLookups--;
    }
  }

  reportReference(report: ReferenceReport): void {
    this.#link.tell('/v1/reference', report);
  }

  findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined> {
    return this.#link.ask('/v1/reference/find', query, referenceRecordSchema);
  }

  async leave(): Promise<void> {
    await this.#announcer.leave();
    await this.#link.leave();
  }

  async close(): Promise<void> {
    if (this.#link.closing.aborted) return;
    this.#announcer.close();
    this.#reporter?.close();
    await this.#link.close();
    this.#wake();
    await this.#loop;
  }

  /** @param peerIds all that are to be avoided now */
  #hearBarred(peerIds: readonly string[]): void {
    const known = this.#barred;
    if (peerIds.length === known.size && peerIds.every((peerId) => known.has(peerId))) return;
    this.#barred = new Set(peerIds);
    this.#dependencies.onBarred?.();
  }

  async #run(firstFailure: CallError | undefined): Promise<void> {
    let failure = firstFailure;
    while (!this.#link.closing.aborted) {
      if (failure === undefined) {
        this.#backoffMs = this.#options.minBackoffMs;
        await this.#sleep(MIN_ROUND_GAP_MS);
        if (!this.#woken) await this.#sleep(this.#options.announceEveryMs - MIN_ROUND_GAP_MS, true);
      } else {
        // Refused connections cost nobody anything, so only a tracker that is overloaded is asked less and less often.
        if (failure.code === 'UNREACHABLE') this.#backoffMs = this.#options.minBackoffMs;
        await this.#sleep(this.#backoffMs * (0.75 + this.#random() / 2));
        this.#backoffMs = Math.min(this.#options.maxBackoffMs, this.#backoffMs * 2);
      }
      if (this.#link.closing.aborted) return;
      failure = await this.#round();
    }
  }

  /** Joins where needed and repeats everything, at the first tracker that lets it. */
  async #round(): Promise<CallError | undefined> {
    this.#woken = false;
    let failure: CallError | undefined;
    for (let tried = 0; tried < this.#options.trackers.length; tried++) {
      try {
        await this.#link.visit(() => this.#announcer.repeat());
        this.#announcer.tellNewsSoon();
        return undefined;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (failure === undefined || !isFatal(failure)) failure = error;
        this.#link.turnAway(error);
      }
    }
    return failure;
  }

  /** A sleep that only closing ends early, and being woken if `wakeable`. */
  async #sleep(durationMs: number, wakeable = false): Promise<void> {
    if (this.#link.closing.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, durationMs);
      this.#wake = () => {
        if (!wakeable && !this.#link.closing.aborted) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #wakeUp(): void {
    this.#woken = true;
    this.#wake();
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function isFatal(error: CallError): boolean {
  return FATAL_CODES.some((code) => code === error.code);
}
