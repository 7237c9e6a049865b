/** Orders to prefetch, at the tracker. Unlike what a pull asks, a person waits for some of these: a failure says why. */
import {
  type PrefetchOrder,
  type PrefetchProgress,
  type PrefetchRequest,
  type PrefetchSummary,
  type PrefetchTask,
  prefetchListSchema,
  prefetchOrderSchema,
  prefetchTasksSchema,
  prefetchWantedSchema,
} from '@shoal/wire';
import type { ZodType } from 'zod';
import { CallError } from './call-error.ts';
import type { TrackerLink } from './tracker-link.ts';

export interface TrackerOrders {
  /** @throws CallError; also those below */
  place(request: PrefetchRequest): Promise<PrefetchOrder>;
  find(id: string): Promise<PrefetchOrder>;
  list(): Promise<PrefetchSummary[]>;
  cancel(id: string): Promise<PrefetchOrder>;
  /** What this agent is to do. Undefined when the tracker could not be asked. */
  tasks(): Promise<PrefetchTask[] | undefined>;
  /** Whether to go on. Undefined when the tracker could not be asked. */
  progress(progress: PrefetchProgress): Promise<{ wanted: boolean } | undefined>;
}

export class OrderCalls implements TrackerOrders {
  readonly #link: Pick<TrackerLink, 'up' | 'call' | 'ask' | 'orUndefined'>;

  constructor(link: Pick<TrackerLink, 'up' | 'call' | 'ask' | 'orUndefined'>) {
    this.#link = link;
  }

  place(request: PrefetchRequest): Promise<PrefetchOrder> {
    return this.#call('/v1/prefetch/order', request, prefetchOrderSchema);
  }

  find(id: string): Promise<PrefetchOrder> {
    return this.#call('/v1/prefetch/find', { id }, prefetchOrderSchema);
  }

  async list(): Promise<PrefetchSummary[]> {
    return (await this.#call('/v1/prefetch/list', {}, prefetchListSchema)).orders;
  }

  cancel(id: string): Promise<PrefetchOrder> {
    return this.#call('/v1/prefetch/cancel', { id }, prefetchOrderSchema);
  }

  async tasks(): Promise<PrefetchTask[] | undefined> {
    return (await this.#link.ask('/v1/prefetch/tasks', {}, prefetchTasksSchema))?.tasks;
  }

  progress(progress: PrefetchProgress): Promise<{ wanted: boolean } | undefined> {
    return this.#link.ask('/v1/prefetch/progress', progress, prefetchWantedSchema);
  }

  async #call<T>(path: string, body: unknown, answer: ZodType<T>): Promise<T> {
    if (!this.#link.up) throw new CallError('UNREACHABLE', 'the tracker does not answer this agent now');
    const call = this.#link.call(path, body, answer);
    // What a failure says of the tracker is noted there.
    const [result] = await Promise.all([call, this.#link.orUndefined(call)]);
    return result;
  }
}
