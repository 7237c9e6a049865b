/**
 * Images fetched before anybody pulls them, on order:
 *
 *   the operator of this node ─► place ─┬─► for this node alone: a job here
 *                                       └─► for others, too: passed on to the tracker, as a member
 *   the tracker ─► heard ─► tasks ──────► a job each ─► progress, until the tracker wants it no more
 *
 * Any member may order; what a job does is bounded by this node: its allow-list, its own credentials, its cache, the
 * order's rate, a few jobs at a time. A job reads nothing for clients and opens nothing to them (`image-fetch.ts`).
 */
import { randomBytes } from 'node:crypto';
import type { Platform } from '@shoal/oci';
import type { PrefetchOrder, PrefetchRequest, PrefetchSummary, PrefetchTask } from '@shoal/wire';
import type { Logger } from 'pino';
import { CallError } from '../tracker-client/call-error.ts';
import type { TrackerOrders } from '../tracker-client/order-calls.ts';
import type { ImageFetchDependencies } from './image-fetch.ts';
import { PrefetchError } from './prefetch-error.ts';
import { PrefetchJob } from './prefetch-job.ts';

/** The tracker's tasks beyond that wait there, and are told again. */
const MAX_TASKS_AT_ONCE = 4;
const MAX_OWN_AT_ONCE = 16;
/** Own orders that can be asked for, with those that ended. */
const MAX_OWN_KEPT = 64;
const REPORT_EVERY_MS = 1_000;
/** A crowd's reports together: one tracker answers five times as many calls. */
const MAX_REPORTS_PER_SECOND = 1_000;
/** Also without news: else the tracker takes the job for lost. */
const REPEAT_REPORT_MS = 5_000;

export interface PrefetchOptions {
  /** What people call this node. */
  name: string;
  zone: string;
  /** Whether orders of others are carried out. */
  takesOrders: boolean;
  ownPlatform: Platform;
  hasTracker: boolean;
}

export interface PrefetchDependencies extends ImageFetchDependencies {
  orders: TrackerOrders;
  /** Members there are. */
  clusterSize: () => number;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** What the operator asks for; for this node alone when neither `names`, `zone` nor `everywhere` is given. */
export type PlacedRequest = PrefetchRequest & { everywhere?: boolean | undefined };

interface OwnOrder {
  about: Omit<PrefetchOrder, 'state' | 'nodes'>;
  job: PrefetchJob;
  isCancelled: boolean;
}

export class Prefetch {
  readonly #options: PrefetchOptions;
  readonly #dependencies: PrefetchDependencies;
  /** The oldest first. */
  readonly #own = new Map<string, OwnOrder>();
  /** By the order's id. */
  readonly #tasks = new Map<string, PrefetchJob>();
  readonly #reporting = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #asking = false;

  constructor(options: PrefetchOptions, dependencies: PrefetchDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /** @throws PrefetchError, also those below */
  async place({ everywhere, ...request }: PlacedRequest): Promise<PrefetchOrder> {
    if (everywhere !== true && request.names === undefined && request.zone === undefined)
      return this.#placeHere(request);
    const order = await this.#atTracker((orders) => orders.place(request));
    this.#dependencies.logger.info({ order: order.id, images: order.images, nodes: order.nodes.length }, 'ordered');
    this.heard();
    return order;
  }

  async find(id: string): Promise<PrefetchOrder> {
    const own = this.#own.get(id);
    return own === undefined ? await this.#atTracker((orders) => orders.find(id), id) : this.#viewOf(own);
  }

  /** Own ones, then the cluster's; without those while the tracker does not answer. */
  async list(): Promise<PrefetchSummary[]> {
    const own = [...this.#own.values()].reverse().map((order) => summaryOf(this.#viewOf(order)));
    if (!this.#options.hasTracker) return own;
    return [...own, ...(await this.#atTracker((orders) => orders.list()))];
  }

  async cancel(id: string): Promise<PrefetchOrder> {
    const own = this.#own.get(id);
    if (own === undefined) return await this.#atTracker((orders) => orders.cancel(id), id);
    if (own.job.state().state === 'fetching') {
      own.isCancelled = true;
      own.job.cancel('cancelled');
      await own.job.ended;
    }
    return this.#viewOf(own);
  }

  /** The tracker says that there are orders for this agent. */
  heard(): void {
    if (!this.#options.takesOrders || this.#asking || this.#closing.signal.aborted) return;
    this.#asking = true;
    void this.#takeTasks().finally(() => {
      this.#asking = false;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const jobs = [...this.#tasks.values(), ...[...this.#own.values()].map(({ job }) => job)];
    for (const job of jobs) job.cancel('the agent stops');
    await Promise.all([...jobs.map(({ ended }) => ended), ...this.#reporting]);
  }

  #placeHere({ images, platform, bytesPerSecond }: PrefetchRequest): PrefetchOrder {
    const { clock } = this.#dependencies;
    const open = [...this.#own.values()].filter(({ job }) => job.state().state === 'fetching');
    if (open.length >= MAX_OWN_AT_ONCE) {
      throw new PrefetchError('busy', `${open.length} orders are under way here; wait for one to end, or cancel it`);
    }
    const wish = { images, ...(platform && { platform }), ...(bytesPerSecond && { bytesPerSecond }) };
    const about = {
      id: `here-${randomBytes(4).toString('hex')}`,
      ...wish,
      orderedBy: this.#options.name,
      orderedAtMs: clock(),
    };
    const order: OwnOrder = { about, job: this.#begin(about), isCancelled: false };
    this.#own.set(about.id, order);
    for (const [id, { job }] of this.#own) {
      if (this.#own.size <= MAX_OWN_KEPT) break;
      if (job.state().state !== 'fetching') this.#own.delete(id);
    }
    return this.#viewOf(order);
  }

  #begin(task: PrefetchTask): PrefetchJob {
    const { ownPlatform } = this.#options;
    const job = new PrefetchJob({ ...task, ownPlatform, pullId: `prefetch-${task.id}` }, this.#dependencies);
    const { logger } = this.#dependencies;
    const about = { order: task.id, images: task.images };
    logger.info(about, 'prefetching');
    void job.ended.then(() => logger.info({ ...about, ...job.state() }, 'the prefetch ended'));
    return job;
  }

  #viewOf({ about, job, isCancelled }: OwnOrder): PrefetchOrder {
    const state = job.state();
    const { name, zone } = this.#options;
    const isOpen = state.state === 'fetching';
    return {
      ...about,
      state: isCancelled ? 'cancelled' : isOpen ? 'open' : 'ended',
      nodes: [{ name, zone, ...state }],
    };
  }

  async #takeTasks(): Promise<void> {
    const tasks = (await this.#dependencies.orders.tasks()) ?? [];
    for (const task of tasks) {
      if (this.#closing.signal.aborted || this.#tasks.size >= MAX_TASKS_AT_ONCE) return;
      if (this.#tasks.has(task.id)) continue;
      try {
        const job = this.#begin(task);
        this.#tasks.set(task.id, job);
        const reporting = this.#report(task.id, job).finally(() => {
          this.#tasks.delete(task.id);
          this.#reporting.delete(reporting);
        });
        this.#reporting.add(reporting);
      } catch (error) {
        if (!(error instanceof PrefetchError)) throw error;
        const nothing = { doneBytes: 0, fromPeers: 0, fromOrigin: 0 };
        await this.#dependencies.orders.progress({ id: task.id, state: 'failed', ...nothing, reason: error.message });
      }
    }
  }

  /** Tells the tracker how far the job is, until it has ended and the tracker knows, or was told in vain. */
  async #report(id: string, job: PrefetchJob): Promise<void> {
    const { orders, clusterSize } = this.#dependencies;
    let told = '';
    let toldAtMs = 0;
    for (;;) {
      const state = job.state();
      const text = JSON.stringify(state);
      if (text !== told || performance.now() - toldAtMs >= REPEAT_REPORT_MS) {
        [told, toldAtMs] = [text, performance.now()];
        const answer = await orders.progress({ id, ...state });
        if (answer?.wanted === false) job.cancel('the order was cancelled');
      }
      if (state.state !== 'fetching') return;
      const everyMs = Math.max(REPORT_EVERY_MS, (1_000 * clusterSize()) / MAX_REPORTS_PER_SECOND);
      await pause(everyMs, job.ended);
    }
  }

  async #atTracker<T>(ask: (orders: TrackerOrders) => Promise<T>, id?: string): Promise<T> {
    if (!this.#options.hasTracker) {
      if (id !== undefined) throw unknownOrder(id);
      throw new PrefetchError(
        'tracker',
        'this agent has no tracker, so it knows no other nodes; leave --nodes and --zone out',
      );
    }
    try {
      return await ask(this.#dependencies.orders);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.code === 'NOT_FOUND' && id !== undefined) throw unknownOrder(id);
      if (error.code === 'NOT_FOUND')
        throw new PrefetchError('tracker', 'the tracker is of a version that takes no orders');
      const code = error.code === 'TOO_MANY_REQUESTS' ? 'busy' : error.code === 'BAD_REQUEST' ? 'bad-order' : 'tracker';
      throw new PrefetchError(code, `the tracker: ${error.message}`, { cause: error });
    }
  }
}

function unknownOrder(id: string): PrefetchError {
  return new PrefetchError(
    'unknown',
    `no order ${JSON.stringify(id)} is known; it may have ended long ago, or the tracker was restarted`,
  );
}

function summaryOf({ nodes, ...about }: PrefetchOrder): PrefetchSummary {
  const counts = { waiting: 0, fetching: 0, done: 0, failed: 0 };
  for (const { state } of nodes) counts[state]++;
  return { ...about, ...counts };
}

/** Ends early when the job does. */
async function pause(durationMs: number, ended: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, durationMs);
  });
  await Promise.race([waited, ended]).finally(() => clearTimeout(timer));
}
