/**
 * The connection to whichever replica of the tracker answers now: its address, the session there, and whether it is up.
 * A call goes straight out while the tracker is up and gives nothing at once while it is not. It never tries again by
 * itself; whoever owns the link is told of trouble and visits the next replica.
 */
import { type JoinToken, joinAnswerSchema, joinProofBytes, parseJoinToken } from '@shoal/wire';
import type { Logger } from 'pino';
import type { Agent } from 'undici';
import { type ZodType, z } from 'zod';
import { CallError, type CallErrorCode } from './call-error.ts';
import { pinnedDispatcher } from './pinned-dispatcher.ts';
import { callTracker } from './tracker-calls.ts';
import type { Membership } from './tracker-client.ts';

/** No pull waits for a join, and many agents may join at once. */
const JOIN_DEADLINE_MS = 3_000;
const LEAVE_DEADLINE_MS = 500;
const MAX_UNAWAITED_CALLS = 64;
/** A certificate is renewed when this much of its life is over. */
const RENEW_AFTER_SHARE = 0.75;
/** A call that ends so says nothing about the tracker or this agent's place in it. */
const HARMLESS_CODES: ReadonlySet<CallErrorCode> = new Set([
  'BAD_REQUEST',
  'NOT_FOUND',
  'TOO_MANY_REQUESTS',
  'SUSPENDED',
]);
const nothing = z.object({});

export interface TrackerLinkOptions {
  /** https URLs of one tracker's replicas. */
  trackers: readonly string[];
  joinToken: string;
  zone: string;
  deadlineMs: number;
}

export interface TrackerLinkDependencies {
  identity: { peerId: string; sign: (bytes: Uint8Array) => Uint8Array };
  savedMembership?: Membership | undefined;
  onMembership?: (membership: Membership) => void;
  /** A call ended: `ok`, or why nothing came of it. */
  onCall?: ((path: string, result: 'ok' | CallErrorCode, seconds: number) => void) | undefined;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface TrackerLinkEvents {
  /** Another process answers: it knows nothing of this agent. */
  onNewInstance(): void;
  /** A connection ended, or a call outside a visit failed. */
  onTrouble(): void;
}

export class TrackerLink {
  readonly #options: TrackerLinkOptions;
  readonly #dependencies: TrackerLinkDependencies;
  readonly #events: TrackerLinkEvents;
  readonly #token: JoinToken | undefined;
  readonly #dispatcher: Agent;
  readonly #closing = new AbortController();
  #membership: Membership | undefined;
  #session: { token: string; renewAtMs: number } | undefined;
  #up = false;
  #tracker = 0;
  #instance = '';
  #unawaited = 0;

  constructor(options: TrackerLinkOptions, dependencies: TrackerLinkDependencies, events: TrackerLinkEvents) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#events = events;
    this.#membership = dependencies.savedMembership;
    this.#token = parseJoinToken(options.joinToken);
    this.#dispatcher = pinnedDispatcher(this.#token?.pin ?? '', JOIN_DEADLINE_MS);
    this.#dispatcher.on('disconnect', () => events.onTrouble());
  }

  get up(): boolean {
    return this.#up;
  }

  /** Whether the join token can be one. */
  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  membership(): Membership | undefined {
    const membership = this.#membership;
    return membership !== undefined && membership.expiresAtMs > this.#dependencies.clock() ? membership : undefined;
  }

  /** Joins where needed, then does `greet`, which is done once more if the session is refused. @throws CallError */
  async visit(greet: () => Promise<void>): Promise<void> {
    if (this.#session === undefined || this.#dependencies.clock() >= this.#session.renewAtMs) await this.#join();
    try {
      await greet();
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== 'NO_SESSION') throw error;
      await this.#join();
      await greet();
    }
    this.#isUp();
  }

  /** The visit failed: the next one goes to the next replica. */
  turnAway(error: CallError): void {
    this.#isDown(error);
    this.#tracker = (this.#tracker + 1) % this.#options.trackers.length;
  }

  /** Undefined when the tracker is down or the call failed. */
  async ask<T>(path: string, body: unknown, answer: ZodType<T>, deadlineMs?: number): Promise<T | undefined> {
    return this.#up ? this.orUndefined(this.call(path, body, answer, deadlineMs)) : undefined;
  }

  /** For what nobody waits for and what may be lost. */
  tell(path: string, body: unknown): void {
    if (this.#unawaited >= MAX_UNAWAITED_CALLS) return;
    this.#unawaited++;
    void this.ask(path, body, nothing).finally(() => this.#unawaited--);
  }

  /** A failed call outside a visit: what it says about the tracker is noted, and the caller goes on without it. */
  async orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call;
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.code === 'BAD_REQUEST') this.#dependencies.logger.warn({ err: error }, 'the tracker refused a call');
      if (this.#closing.signal.aborted || HARMLESS_CODES.has(error.code)) return undefined;
      if (error.code === 'NO_SESSION' || error.code === 'BARRED') this.#session = undefined;
      this.#isDown(error);
      this.#events.onTrouble();
      return undefined;
    }
  }

  /** @throws CallError */
  async call<T>(path: string, body: unknown, schema: ZodType<T>, deadlineMs = this.#options.deadlineMs): Promise<T> {
    const startedMs = performance.now();
    const ended = (result: 'ok' | CallErrorCode): void =>
      this.#dependencies.onCall?.(path, result, (performance.now() - startedMs) / 1000);
    const answer = await callTracker(this.#dispatcher, {
      url: this.#url(),
      path,
      session: this.#session?.token,
      body,
      answer: schema,
      deadlineMs,
      signal: this.#closing.signal,
    }).catch((error: unknown) => {
      if (error instanceof CallError) ended(error.code);
      throw error;
    });
    ended('ok');
    if (answer.instance !== this.#instance) {
      this.#instance = answer.instance;
      this.#events.onNewInstance();
    }
    return answer.body;
  }

  /** The tracker forgets what it knows of this agent. */
  async leave(): Promise<void> {
    await this.ask('/v1/leave', {}, nothing, LEAVE_DEADLINE_MS);
  }

  /** Says goodbye, then ends whatever is under way. */
  async close(): Promise<void> {
    const goodbye = this.leave();
    this.#up = false;
    await goodbye;
    this.#closing.abort();
    // Not awaited: it would wait for a connection that is still being made, as long as connecting may take.
    this.#dispatcher.destroy().catch(() => undefined);
  }

  async #join(): Promise<void> {
    const { identity, clock, onMembership } = this.#dependencies;
    const sentAtMs = clock();
    const proof = Buffer.from(identity.sign(joinProofBytes(identity.peerId, sentAtMs))).toString('base64url');
    const { peerId } = identity;
    const body = { secret: this.#token?.secret, peerId, sentAtMs, proof, zone: this.#options.zone };
    const answer = await this.call('/v1/join', body, joinAnswerSchema, JOIN_DEADLINE_MS);
    const { certificate, clusterKey, expiresAtMs, nowMs } = answer;
    this.#session = { token: answer.session, renewAtMs: clock() + (expiresAtMs - nowMs) * RENEW_AFTER_SHARE };
    this.#membership = { certificate, clusterKey, expiresAtMs };
    onMembership?.(this.#membership);
    this.#isUp();
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

  #url(): string {
    return this.#options.trackers[this.#tracker] ?? '';
  }
}
