/**
 * Which of several replicas leads: whoever holds one key in the store, which runs out unless its holder renews it.
 *
 *   follows ─ the key is free ─► leads ─┬─ resigns: the key is deleted, the next one takes it within `LOOK_EVERY_MS`
 *      ▲                                ├─ cannot renew it in time: stops before it runs out
 *      └────────────────────────────────┴─ somebody else has it (the store forgot): stops at once
 *
 * Each tenure has a name of its own. Whatever a leader writes is written only if the key still holds that name, so one that
 * was suspended for long, and believes that it leads, changes nothing.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { RedisLink } from './redis-link.ts';

/** A leader that was killed is missed for so long at most. */
export const LOCK_TTL_MS = 2_000;
const RENEW_EVERY_MS = 400;
const LOOK_EVERY_MS = 150;
/** A leader stops this long before its key runs out. */
const MARGIN_MS = 200;
/** Without a word of the store for this long nobody is known to lead. */
const FORGET_LEADER_MS: number = LOCK_TTL_MS;

/** Takes or renews the key, and tells who has it. */
const TAKE = `
local value = redis.call('GET', KEYS[1])
if value and value ~= ARGV[1] then return value end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`;
const GIVE_BACK = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

const leaderSchema = z.object({ tenure: z.string().min(1).max(64), url: z.url({ protocol: /^https$/ }).max(512) });
/** Who leads, and where the other replicas reach it. */
export type Leader = z.infer<typeof leaderSchema>;

export interface LeadershipOptions {
  key: string;
  /** https, as the other replicas reach this one. */
  url: string;
}

export interface LeadershipDependencies {
  redis: Pick<RedisLink, 'run'>;
  logger: Logger;
  /** Milliseconds of a clock that only goes forward. */
  monotonic: () => number;
  /** This replica leads from now on. @param fence the value of the key while it does */
  onTaken: (leader: Leader, fence: string) => void;
  /** It does not any more. */
  onLost: () => void;
  /** Another replica leads, or nobody is known to. */
  onLeader: (leader: Leader | undefined) => void;
}

export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #dependencies: LeadershipDependencies;
  readonly #closing = new AbortController();
  #own: Leader;
  #fence: string;
  /** Undefined while following. */
  #untilMs: number | undefined;
  #leader: Leader | undefined;
  #heardAtMs: number;
  #running: Promise<void> | undefined;

  constructor(options: LeadershipOptions, dependencies: LeadershipDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#own = { tenure: randomUUID(), url: options.url };
    this.#fence = JSON.stringify(this.#own);
    this.#heardAtMs = dependencies.monotonic();
  }

  /** Resolves when it is known who leads, or that the store does not say. */
  async start(): Promise<void> {
    await this.#look();
    this.#running = this.#run();
  }

  get leads(): boolean {
    return this.#untilMs !== undefined && this.#dependencies.monotonic() < this.#untilMs;
  }

  /** Milliseconds since the store last said who leads. */
  get #silentMs(): number {
    return this.#dependencies.monotonic() - this.#heardAtMs;
  }

  /** Neither leads nor tries to any more; the key is free when this resolves, if the store can be reached. */
  async resign(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.giveUp();
  }

  /** Lets another one lead, if it does now. */
  async giveUp(): Promise<void> {
    if (this.#untilMs === undefined) return;
    const { redis, logger } = this.#dependencies;
    const fence = this.#fence;
    this.#stop();
    await redis.run(GIVE_BACK, [this.#options.key], [fence]).catch((error: unknown) => {
      logger.warn({ err: error }, 'the lead could not be given back; it runs out by itself');
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const pauseMs = this.#untilMs === undefined ? LOOK_EVERY_MS : RENEW_EVERY_MS;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { redis, monotonic, logger } = this.#dependencies;
    const sentAtMs = monotonic();
    const fence = this.#fence;
    let value: unknown;
    try {
      value = await redis.run(TAKE, [this.#options.key], [fence, LOCK_TTL_MS]);
    } catch (error) {
      if (this.#untilMs !== undefined && monotonic() >= this.#untilMs) {
        logger.warn({ err: error }, 'this tracker does not lead any more: the store did not answer in time');
        // What was sent may yet arrive: then this tracker would wait for its own former tenure to run out.
        await this.giveUp();
      }
      if (this.#silentMs >= FORGET_LEADER_MS) this.#follow(undefined);
      return;
    }
    // Given up meanwhile.
    if (fence !== this.#fence) return;
    this.#heardAtMs = monotonic();
    if (value === fence) await this.#renewed(sentAtMs);
    else this.#overtaken(value);
  }

  async #renewed(sentAtMs: number): Promise<void> {
    const { onTaken, logger } = this.#dependencies;
    const ledUntilMs = this.#untilMs;
    if (ledUntilMs !== undefined && sentAtMs >= ledUntilMs) {
      // The key may have been another one's meanwhile.
      logger.warn('this tracker does not lead any more: it was held up for too long');
      await this.giveUp();
      return;
    }
    this.#untilMs = sentAtMs + LOCK_TTL_MS - MARGIN_MS;
    if (ledUntilMs !== undefined) return;
    this.#leader = this.#own;
    onTaken(this.#own, this.#fence);
  }

  #overtaken(value: unknown): void {
    if (this.#untilMs !== undefined) {
      this.#dependencies.logger.warn('this tracker does not lead any more: another one does');
      this.#stop();
    }
    this.#follow(leaderOf(value));
  }

  #follow(leader: Leader | undefined): void {
    if (leader?.tenure === this.#leader?.tenure) return;
    this.#leader = leader;
    this.#dependencies.onLeader(leader);
  }

  /** The next tenure, if there is one, is another. */
  #stop(): void {
    this.#untilMs = undefined;
    this.#leader = undefined;
    this.#own = { tenure: randomUUID(), url: this.#options.url };
    this.#fence = JSON.stringify(this.#own);
    this.#dependencies.onLost();
  }
}

function leaderOf(value: unknown): Leader | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    return leaderSchema.safeParse(JSON.parse(value)).data;
  } catch {
    return undefined;
  }
}
