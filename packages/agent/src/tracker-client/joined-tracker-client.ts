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
import type { Digest } from '@shoal/oci';
import type { Random } from '@shoal/swarm';
import {
  type AnnounceAnswer,
  announceAnswerSchema,
  type JoinToken,
  joinAnswerSchema,
  joinProofBytes,
  type LeaseAnswer,
  leaseAnswerSchema,
  leaseRenewalAnswerSchema,
  type PeerRecord,
  parseJoinToken,
  type ReferenceQuery,
  type ReferenceRecord,
  referenceRecordSchema,
} from '@shoal/wire';
import type { Logger } from 'pino';
import type { Agent } from 'undici';
import { type ZodType, z } from 'zod';
import { AnnouncedBlobs, type Announcement } from './announced-blobs.ts';
import { CallError, type CallErrorCode } from './call-error.ts';
import { pinnedDispatcher } from './pinned-dispatcher.ts';
import { callTracker } from './tracker-calls.ts';
import type { Membership, TrackerClient } from './tracker-client.ts';

const DEFAULT_TRACKER_DEADLINE_MS = 1_000;
const DEFAULT_ANNOUNCE_EVERY_MS = 10_000;
const DEFAULT_MIN_BACKOFF_MS = 1_000;
const DEFAULT_MAX_BACKOFF_MS = 15_000;
/** No pull waits for a join, and many agents may join at once. */
const JOIN_DEADLINE_MS = 3_000;
const LEAVE_DEADLINE_MS = 500;
const NEWS_BATCH_MS = 50;
/** Between rounds, however often the loop is woken. */
const MIN_ROUND_GAP_MS = 250;
const MAX_UNAWAITED_CALLS = 64;
const MAX_ADDRESSES = 16;
/** A certificate is renewed when this much of its life is over. */
const RENEW_AFTER_SHARE = 0.75;
/** A call that ends so says nothing about the tracker or this agent's place in it. */
const HARMLESS_CODES: ReadonlySet<CallErrorCode> = new Set(['BAD_REQUEST', 'NOT_FOUND', 'TOO_MANY_REQUESTS']);
const nothing = z.object({});

export interface TrackerClientOptions {
  /** https URLs of one tracker's replicas; the next one is tried when one fails. May be empty. */
  trackers: readonly string[];
  joinToken: string;
  zone: string;
  /** For each call that somebody waits for. @default 1000 */
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
  onPeers?: (digest: Digest, peers: PeerRecord[]) => void;
  /** To be kept on disk. */
  onMembership?: (membership: Membership) => void;
  savedMembership?: Membership | undefined;
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
  /** Tries every tracker once. Unless the outcome is fatal, the client then goes on by itself. */
  start(): Promise<JoinOutcome>;
}

export function createTrackerClient(
  options: TrackerClientOptions,
  dependencies: TrackerClientDependencies,
): StartableTrackerClient {
  return new JoinedTrackerClient(options, dependencies);
}

class JoinedTrackerClient implements StartableTrackerClient {
  readonly #options: Required<TrackerClientOptions>;
  readonly #dependencies: TrackerClientDependencies;
  readonly #random: Random;
  readonly #token: JoinToken | undefined;
  readonly #dispatcher: Agent;
  readonly #closing = new AbortController();
  readonly #blobs = new AnnouncedBlobs();
  #membership: Membership | undefined;
  #session: { token: string; renewAtMs: number } | undefined;
  #up = false;
  #tracker = 0;
  #instance = '';
  #backoffMs: number;
  #loop: Promise<void> | undefined;
  #woken = false;
  #wake: () => void = () => undefined;
  #newsTimer: NodeJS.Timeout | undefined;
  #tellingNews = false;
  #unawaited = 0;

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
    this.#membership = dependencies.savedMembership;
    this.#token = parseJoinToken(options.joinToken);
    this.#dispatcher = pinnedDispatcher(this.#token?.pin ?? '', JOIN_DEADLINE_MS);
    this.#dispatcher.on('disconnect', () => this.#wakeUp());
  }

  async start(): Promise<JoinOutcome> {
    if (this.#options.trackers.length === 0) return 'unreachable';
    if (this.#token === undefined) {
      return { fatal: 'WRONG_JOIN_TOKEN', message: 'the join token is not of the form shoal1.<pin>.<secret>' };
    }
    const failure = await this.#round();
    const fatal = failure && FATAL_CODES.find((code) => code === failure.code);
    if (failure !== undefined && fatal !== undefined) return { fatal, message: failure.message };
    this.#loop ??= this.#run(failure);
    return failure === undefined ? 'joined' : 'unreachable';
  }

  membership(): Membership | undefined {
    const membership = this.#membership;
    return membership !== undefined && membership.expiresAtMs > this.#dependencies.clock() ? membership : undefined;
  }

  reachable(): boolean {
    return this.#up;
  }

  async want(digests: readonly Digest[]): Promise<Map<Digest, PeerRecord[]> | undefined> {
    this.#blobs.want(digests);
    if (!this.#up) return undefined;
    const peers = new Map<Digest, PeerRecord[]>(digests.map((digest) => [digest, []]));
    for (const announcement of this.#blobs.wanted(digests)) {
      const answer = await this.#orUndefined(this.#announce(announcement));
      if (answer === undefined) return undefined;
      for (const swarm of answer.swarms) peers.set(swarm.digest, swarm.peers);
    }
    return peers;
  }

  unwant(digests: readonly Digest[]): void {
    this.#blobs.unwant(digests);
    this.#tellNewsSoon();
  }

  have(digests: readonly Digest[]): void {
    this.#blobs.have(digests);
    this.#tellNewsSoon();
  }

  withdraw(digests: readonly Digest[]): void {
    this.#blobs.withdraw(digests);
    this.#tellNewsSoon();
  }

  lease(request: {
    digest: Digest;
    sizeBytes: number;
    registry: string;
    starved: boolean;
  }): Promise<LeaseAnswer | undefined> {
    return this.#ask('/v1/lease', request, leaseAnswerSchema);
  }

  async renew(leaseId: string, progress: number): Promise<boolean | undefined> {
    return (await this.#ask('/v1/lease/renew', { leaseId, progress }, leaseRenewalAnswerSchema))?.held;
  }

  release(leaseId: string, done: boolean): void {
    this.#tell('/v1/lease/release', { leaseId, done });
  }

  recordReference(record: ReferenceRecord): void {
    this.#tell('/v1/reference', record);
  }

  findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined> {
    return this.#ask('/v1/reference/find', query, referenceRecordSchema);
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    clearTimeout(this.#newsTimer);
    const goodbye = this.#up ? this.#orUndefined(this.#call('/v1/leave', {}, nothing, LEAVE_DEADLINE_MS)) : undefined;
    this.#up = false;
    await goodbye;
    this.#closing.abort();
    this.#wake();
    await this.#loop;
    // Not awaited: it would wait for a connection that is still being made, as long as connecting may take.
    this.#dispatcher.destroy().catch(() => undefined);
  }

  // --- the loop ---

  async #run(firstFailure: CallError | undefined): Promise<void> {
    let failure = firstFailure;
    while (!this.#closing.signal.aborted) {
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
      if (this.#closing.signal.aborted) return;
      failure = await this.#round();
    }
  }

  /** Joins where needed and repeats everything, at the first tracker that lets it. */
  async #round(): Promise<CallError | undefined> {
    this.#woken = false;
    let failure: CallError | undefined;
    for (let tried = 0; tried < this.#options.trackers.length; tried++) {
      try {
        await this.#visit();
        this.#tellNewsSoon();
        return undefined;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (failure === undefined || !isFatal(failure)) failure = error;
        this.#isDown(error);
        this.#tracker = (this.#tracker + 1) % this.#options.trackers.length;
      }
    }
    return failure;
  }

  async #visit(): Promise<void> {
    if (this.#session === undefined || this.#dependencies.clock() >= this.#session.renewAtMs) await this.#join();
    try {
      await this.#repeat();
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== 'NO_SESSION') throw error;
      await this.#join();
      await this.#repeat();
    }
    this.#isUp();
  }

  async #join(): Promise<void> {
    const { identity, clock, onMembership } = this.#dependencies;
    const sentAtMs = clock();
    const proof = Buffer.from(identity.sign(joinProofBytes(identity.peerId, sentAtMs))).toString('base64url');
    const { peerId } = identity;
    const body = { secret: this.#token?.secret, peerId, sentAtMs, proof, zone: this.#options.zone };
    const answer = await this.#call('/v1/join', body, joinAnswerSchema, JOIN_DEADLINE_MS);
    const { certificate, clusterKey, expiresAtMs, nowMs } = answer;
    this.#session = { token: answer.session, renewAtMs: clock() + (expiresAtMs - nowMs) * RENEW_AFTER_SHARE };
    this.#membership = { certificate, clusterKey, expiresAtMs };
    onMembership?.(this.#membership);
    this.#isUp();
  }

  async #repeat(): Promise<void> {
    for (const announcement of this.#blobs.repetition()) await this.#announce(announcement);
  }

  /** A sleep that only closing ends early, and being woken if `wakeable`. */
  async #sleep(durationMs: number, wakeable = false): Promise<void> {
    if (this.#closing.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, durationMs);
      this.#wake = () => {
        if (!wakeable && !this.#closing.signal.aborted) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #wakeUp(): void {
    this.#woken = true;
    this.#wake();
  }

  #isUp(): void {
    if (this.#up) return;
    this.#up = true;
    this.#dependencies.logger.info({ tracker: this.#url() }, 'the tracker is reachable');
  }

  #isDown(error: CallError): void {
    if (this.#up) this.#dependencies.logger.warn({ err: error }, 'the tracker does not answer; going on without it');
    else this.#dependencies.logger.debug({ err: error }, 'the tracker still does not answer');
    this.#up = false;
  }

  // --- announcing ---

  async #announce(announcement: Announcement): Promise<AnnounceAnswer> {
    const addresses = this.#dependencies.addresses().slice(0, MAX_ADDRESSES);
    const body = { addresses, ...announcement };
    const answer = await this.#call('/v1/announce', body, announceAnswerSchema, this.#options.deadlineMs);
    this.#blobs.heard(announcement);
    for (const { digest, peers } of answer.swarms) {
      if (peers.length > 0) this.#dependencies.onPeers?.(digest, peers);
    }
    return answer;
  }

  #tellNewsSoon(): void {
    if (!this.#blobs.hasNews || this.#closing.signal.aborted) return;
    this.#newsTimer ??= setTimeout(() => {
      this.#newsTimer = undefined;
      void this.#tellNews();
    }, NEWS_BATCH_MS).unref();
  }

  /** What does not arrive stays news until the next round. */
  async #tellNews(): Promise<void> {
    if (this.#tellingNews) return;
    this.#tellingNews = true;
    while (this.#up && this.#blobs.hasNews) {
      if ((await this.#orUndefined(this.#announce(this.#blobs.news()))) === undefined) break;
    }
    this.#tellingNews = false;
  }

  // --- calling ---

  async #ask<T>(path: string, body: unknown, answer: ZodType<T>): Promise<T | undefined> {
    return this.#up ? this.#orUndefined(this.#call(path, body, answer, this.#options.deadlineMs)) : undefined;
  }

  /** For what nobody waits for and what may be lost. */
  #tell(path: string, body: unknown): void {
    if (this.#unawaited >= MAX_UNAWAITED_CALLS) return;
    this.#unawaited++;
    void this.#ask(path, body, nothing).finally(() => this.#unawaited--);
  }

  /** A failed call outside the loop: what it says about the tracker is noted, and the caller goes on without it. */
  async #orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call;
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.code === 'BAD_REQUEST') this.#dependencies.logger.warn({ err: error }, 'the tracker refused a call');
      if (this.#closing.signal.aborted || HARMLESS_CODES.has(error.code)) return undefined;
      if (error.code === 'NO_SESSION' || error.code === 'BARRED') this.#session = undefined;
      this.#isDown(error);
      this.#wakeUp();
      return undefined;
    }
  }

  /** @throws CallError */
  async #call<T>(path: string, body: unknown, schema: ZodType<T>, deadlineMs: number): Promise<T> {
    const answer = await callTracker(this.#dispatcher, {
      url: this.#url(),
      path,
      session: this.#session?.token,
      body,
      answer: schema,
      deadlineMs,
      signal: this.#closing.signal,
    });
    if (answer.instance !== this.#instance) {
      this.#instance = answer.instance;
      this.#blobs.forgetHeard();
      this.#tellNewsSoon();
    }
    return answer.body;
  }

  #url(): string {
    return this.#options.trackers[this.#tracker] ?? '';
  }
}

function isFatal(error: CallError): boolean {
  return FATAL_CODES.some((code) => code === error.code);
}
