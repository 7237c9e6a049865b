/**
 * The connection to whichever replica of the tracker answers now: its address, the session there, and whether it is up.
 * A call goes straight out while the tracker is up and gives nothing at once while it is not. It never visits another replica
 * by itself; whoever owns the link is told of trouble and does so.
 *
 * Where there are several replicas, a call that one of them did not answer, and calls soon after, wait for the next one: it
 * takes over within seconds, and knows who reads what. Without waiting, agents would read again what others are reading.
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
/** How long calls wait for the next replica. */
const FAILOVER_MS = 4_000;
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
  /** Another process answers: it knows nothing of this agent. During a visit it is just being told. */
  onNewInstance(visiting: boolean): void;
  /** A connection ended, or a call outside a visit failed. */
  onTrouble(): void;
}

/** Unanswered: another replica may know. */
type Attempt<T> = { answer: T | undefined } | 'unanswered';

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
  /** Undefined while it is up, and before it ever was. */
  #downSinceMs: number | undefined;
  #visiting = false;
  readonly #waiting = new Set<(up: boolean) => void>();

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
    this.#visiting = true;
    try {
      if (this.#session === undefined || this.#dependencies.clock() >= this.#session.renewAtMs) await this.#join();
      await greet().catch(async (error: unknown) => {
        if (!(error instanceof CallError) || error.code !== 'NO_SESSION') throw error;
        await this.#join();
        await greet();
      });
    } finally {
      this.#visiting = false;
    }
    this.#isUp();
  }

  /** The visit failed: the next one goes to the next replica. */
  turnAway(error: CallError): void {
    this.#isDown(error);
    this.#turn();
  }

  /** Undefined when the tracker is down or the call failed. */
  async ask<T>(path: string, body: unknown, answer: ZodType<T>, deadlineMs?: number): Promise<T | undefined> {
    const attempt = (): Promise<Attempt<T>> => this.#attempt(this.call(path, body, answer, deadlineMs));
    if (!this.#up && !(await this.#upAgain())) return undefined;
    const first = await attempt();
    if (first !== 'unanswered') return first.answer;
    const second = (await this.#upAgain()) ? await attempt() : first;
    return second === 'unanswered' ? undefined : second.answer;
  }

  /** For what nobody waits for and what may be lost. */
  tell(path: string, body: unknown): void {
    if (this.#unawaited >= MAX_UNAWAITED_CALLS) return;
    this.#unawaited++;
    void this.ask(path, body, nothing).finally(() => this.#unawaited--);
  }

  /** A failed call outside a visit: what it says about the tracker is noted, and the caller goes on without it. */
  async orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
    const attempt = await this.#attempt(call);
    return attempt === 'unanswered' ? undefined : attempt.answer;
  }

  /** @param call begun in this very turn, at the replica that is asked now */
  async #attempt<T>(call: Promise<T>): Promise<Attempt<T>> {
    const tracker = this.#tracker;
    try {
      return { answer: await call };
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.code === 'BAD_REQUEST') this.#dependencies.logger.warn({ err: error }, 'the tracker refused a call');
      if (this.#closing.signal.aborted || HARMLESS_CODES.has(error.code)) return { answer: undefined };
      const isRefused = error.code === 'NO_SESSION' || error.code === 'BARRED';
      if (isRefused) this.#session = undefined;
      // It may be late news of a replica that was left since.
      if (tracker !== this.#tracker) return 'unanswered';
      if (!isRefused && !this.#visiting) this.#turn();
      this.#isDown(error);
      this.#events.onTrouble();
      return 'unanswered';
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
      this.#events.onNewInstance(this.#visiting);
    }
    return answer.body;
  }

  /** The tracker forgets what it knows of this agent. */
  async leave(): Promise<void> {
    if (this.#up) await this.orUndefined(this.call('/v1/leave', {}, nothing, LEAVE_DEADLINE_MS));
  }

  /** Says goodbye, then ends whatever is under way. */
  async close(): Promise<void> {
    const goodbye = this.leave();
    this.#up = false;
    await goodbye;
    this.#closing.abort();
    this.#endWaiting(false);
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

  /** Whether the tracker is up, or soon is again. */
  #upAgain(): Promise<boolean> {
    const sinceMs = this.#downSinceMs;
    if (this.#options.trackers.length < 2) return Promise.resolve(false);
    if (this.#up || sinceMs === undefined) return Promise.resolve(this.#up);
    const waitMs = sinceMs + FAILOVER_MS - performance.now();
    if (waitMs <= 0 || this.#closing.signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const done = (up: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve(up);
      };
      const timer = setTimeout(done, waitMs, false).unref();
      this.#waiting.add(done);
    });
  }

  #endWaiting(up: boolean): void {
    for (const done of [...this.#waiting]) done(up);
  }

  #turn(): void {
    this.#tracker = (this.#tracker + 1) % this.#options.trackers.length;
  }

  #isUp(): void {
    if (this.#up) return;
    this.#up = true;
    this.#downSinceMs = undefined;
    this.#endWaiting(true);
    this.#dependencies.logger.info({ tracker: this.#url() }, 'the tracker is reachable');
  }

  #isDown(error: CallError): void {
    if (this.#up) this.#dependencies.logger.warn({ err: error }, 'the tracker does not answer; going on without it');
    else this.#dependencies.logger.debug({ err: error }, 'the tracker still does not answer');
    if (this.#up) this.#downSinceMs = performance.now();
    this.#up = false;
  }

  #url(): string {
    return this.#options.trackers[this.#tracker] ?? '';
  }
}
