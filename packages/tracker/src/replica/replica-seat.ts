/**
 * One of several replicas. The one that leads has the rooms and answers; the others pass every call on to it, so that agents
 * may ask any of them. While nobody leads a call is held, as a leader that is gone is replaced within two seconds.
 *
 *   call ─► leads? ── yes ─► answered here ─► what it changed is in the store ─► the answer leaves
 *    ▲        └ no ─► passed on to who leads ─► its answer
 *    └──────────────── nobody leads, or it did not answer: again, for `HOLD_MS` at most, then 503
 *
 * A new leader goes on with what the store has: bars, references, leases, disputes, orders. Who holds which blob the agents
 * tell it themselves: it is another instance, and replicas end idle connections when the leader changes, which agents notice.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ApiError } from '../api/api-error.ts';
import type { Rooms } from '../rooms.ts';
import { type Leader, Leadership } from './leadership.ts';
import type { Passing } from './passing.ts';
import type { RedisLink } from './redis-link.ts';
import { NotLeadingError } from './redis-shelf.ts';
import type { ApiCall, PassedAnswer, Seat } from './seat.ts';

/** Agents wait for 3 s. */
const HOLD_MS = 2_700;
const PASS_AGAIN_MS = 200;
const COMMIT_AGAIN_MS = 50;
/** After this long without a leader calls are refused at once. */
const MAX_LEADERLESS_MS = 5_000;
/** Calls held or passed on at once; agents go on without an answer. */
const MAX_WAITING = 16_384;
/** An order is not placed twice: whether the leader got it before it died is not known. */
const NOT_REPEATED: ReadonlySet<string> = new Set(['/v1/prefetch/order']);

export interface ReplicaSeatOptions {
  lockKey: string;
}

export interface ReplicaSeatDependencies {
  redis: RedisLink;
  passing: Passing;
  logger: Logger;
  /** Milliseconds of a clock that only goes forward. */
  monotonic: () => number;
  /** Loads what the former leader left. @param fence as `RedisShelf` wants it */
  openRooms: (fence: string) => Promise<Rooms>;
  /** Another replica leads, or this one begins to. */
  onChange: () => void;
  onPassed: (outcome: 'ok' | 'failed') => void;
}

interface Tenure {
  /** Undefined while it is being loaded. */
  rooms: Rooms | undefined;
}

export class ReplicaSeat implements Seat {
  readonly #dependencies: ReplicaSeatDependencies;
  readonly #lockKey: string;
  #leadership: Leadership | undefined;
  #tenure: Tenure | undefined;
  #leader: Leader | undefined;
  /** Aborted when somebody else leads: who waits for the former leader need not any more. */
  #leaderGone: AbortController = leaderGone();
  #leaderlessSinceMs: number | undefined;
  #opening: Promise<void> | undefined;
  #waiting = 0;
  readonly #wakers = new Set<() => void>();
  #takeovers = 0;
  /** Whom it was told of that it cannot be reached. */
  #unreachable: string | undefined;

  constructor(options: ReplicaSeatOptions, dependencies: ReplicaSeatDependencies) {
    this.#dependencies = dependencies;
    this.#lockKey = options.lockKey;
    this.#leaderlessSinceMs = dependencies.monotonic();
  }

  /**
   * Resolves when this replica leads or follows; also when the store does not say who leads.
   * @param url https, as the other replicas reach this one
   */
  async start(url: string): Promise<void> {
    const { redis, logger, monotonic } = this.#dependencies;
    this.#leadership = new Leadership(
      { key: this.#lockKey, url },
      {
        redis,
        logger,
        monotonic,
        onTaken: (leader, fence) => {
          this.#opening = this.#begin(leader, fence);
        },
        onLost: () => this.#end(),
        onLeader: (leader) => this.#follow(leader),
      },
    );
    await this.#leadership.start();
    await this.#opening;
  }

  /** Undefined unless this replica leads. */
  get rooms(): Rooms | undefined {
    return this.#leadership?.leads === true ? this.#tenure?.rooms : undefined;
  }

  get takeovers(): number {
    return this.#takeovers;
  }

  get instance(): string {
    return this.#leader?.tenure ?? '';
  }

  get ready(): boolean {
    return this.rooms !== undefined || (this.#tenure === undefined && this.#leader !== undefined);
  }

  async serve(call: ApiCall, here: () => unknown): Promise<unknown> {
    if (this.#waiting >= MAX_WAITING) throw nobodyLeads();
    this.#waiting++;
    try {
      return await this.#serve(call, here);
    } finally {
      this.#waiting--;
    }
  }

  /** The next one may lead. Calls are passed on to it from here on. */
  async resign(): Promise<void> {
    await this.#opening;
    await this.#tenure?.rooms?.flush().catch(() => undefined);
    await this.#leadership?.resign();
  }

  async #serve(call: ApiCall, here: () => unknown): Promise<unknown> {
    const untilMs = this.#dependencies.monotonic() + HOLD_MS;
    for (;;) {
      const rooms = this.rooms;
      if (rooms !== undefined) {
        try {
          const answer = await here();
          await this.#keep(rooms, untilMs);
          return answer;
        } catch (error) {
          if (!(error instanceof NotLeadingError)) throw error;
        }
      } else if (this.#tenure === undefined && this.#leader !== undefined) {
        if (call.isPassed) throw nobodyLeads();
        const answer = await this.#pass(this.#leader, call);
        if (answer !== undefined) return answer;
        if (NOT_REPEATED.has(call.path)) throw nobodyLeads();
      }
      const nowMs = this.#dependencies.monotonic();
      if (nowMs >= untilMs || nowMs - (this.#leaderlessSinceMs ?? nowMs) > MAX_LEADERLESS_MS) throw nobodyLeads();
      await this.#changeWithin(Math.min(PASS_AGAIN_MS, untilMs - nowMs));
    }
  }

  #changeWithin(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeoutMs);
      this.#wakers.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }

  /**
   * Resolves when what this call changed is in the store. While that cannot be, nothing is answered.
   * @throws NotLeadingError, or ApiError when it cannot be for too long
   */
  async #keep(rooms: Rooms, untilMs: number): Promise<void> {
    for (;;) {
      try {
        return await rooms.commit();
      } catch (error) {
        if (error instanceof NotLeadingError || this.rooms !== rooms) throw new NotLeadingError();
        if (this.#dependencies.monotonic() >= untilMs) throw nobodyLeads();
      }
      await sleep(COMMIT_AGAIN_MS);
    }
  }

  async #pass(leader: Leader, call: ApiCall): Promise<PassedAnswer | undefined> {
    const { passing, onPassed, logger } = this.#dependencies;
    const gone = this.#leaderGone.signal;
    try {
      const answer = await passing.pass(leader.url, call, gone);
      onPassed('ok');
      this.#unreachable = undefined;
      return answer;
    } catch (error) {
      onPassed('failed');
      if (!gone.aborted && this.#unreachable !== leader.tenure) {
        this.#unreachable = leader.tenure;
        logger.warn({ leader: leader.url, err: error }, 'the tracker that leads did not answer this one');
      }
      return undefined;
    }
  }

  async #begin(leader: Leader, fence: string): Promise<void> {
    const { openRooms, logger, onChange, monotonic } = this.#dependencies;
    const tenure: Tenure = { rooms: undefined };
    this.#tenure = tenure;
    this.#change(leader);
    const startedAtMs = monotonic();
    try {
      const rooms = await openRooms(fence);
      if (this.#tenure !== tenure) return await rooms.close();
      tenure.rooms = rooms;
      this.#takeovers++;
      this.#wake();
      logger.info({ url: leader.url, loadedInMs: Math.round(monotonic() - startedAtMs) }, 'this tracker leads now');
      onChange();
    } catch (error) {
      logger.error({ err: error }, 'this tracker cannot lead: what the store has was not read');
      await this.#leadership?.giveUp();
    }
  }

  #end(): void {
    const tenure = this.#tenure;
    this.#tenure = undefined;
    this.#change(undefined);
    // What it could not write the next leader does not know, and shall not.
    void tenure?.rooms?.close().catch(() => undefined);
  }

  #follow(leader: Leader | undefined): void {
    this.#change(leader);
    if (leader === undefined) return;
    this.#dependencies.logger.info({ leader: leader.url }, 'another tracker leads');
    this.#dependencies.onChange();
  }

  #change(leader: Leader | undefined): void {
    this.#leader = leader;
    this.#leaderGone.abort();
    this.#leaderGone = leaderGone();
    this.#wake();
    this.#leaderlessSinceMs = leader === undefined ? this.#dependencies.monotonic() : undefined;
  }
}

function leaderGone(): AbortController {
  const controller = new AbortController();
  // A call under way each.
  setMaxListeners(0, controller.signal);
  return controller;
}

function nobodyLeads(): ApiError {
  return new ApiError(503, 'INTERNAL', 'no tracker leads now');
}
