/**
 * Orders to prefetch images: who shall fetch what, and how far each node is. Soft state in memory, told the time, without
 * I/O. The API asks it; agents hear of their orders in the answer to what they announce anyway.
 *
 *   place ─► waiting ─► fetching ─► done                      of each node
 *               └──────────┴──────► failed: it said so, it is gone, the order was cancelled or expired
 *
 * It never decides whether an agent may fetch an image: that is for the agent, by its own settings and credentials.
 */
import type {
  PrefetchNode,
  PrefetchOrder,
  PrefetchProgress,
  PrefetchRequest,
  PrefetchSummary,
  PrefetchTask,
} from '@shoal/wire';
import { MAX_ORDER_NODES, MAX_TOLD_ORDERS } from '@shoal/wire';
import { ApiError } from '../api/api-error.ts';

const DEFAULT_MAX_ORDERS = MAX_TOLD_ORDERS;
const DEFAULT_MAX_OPEN_PER_MEMBER = 16;
const DEFAULT_MAX_ENTRIES = 100_000;
/** Without any node getting further, an order ends after this time. */
export const ORDER_EXPIRES_MS: number = 60 * 60_000;
/** How long what came of an order can be asked for. */
export const ORDER_KEPT_MS: number = 10 * 60_000;
/** A node that says nothing for so long about what it fetches is told of it again: it may have restarted. */
const QUIET_MS = 15_000;

/** An agent that is there now. */
export interface OrderableAgent {
  peerId: string;
  zone: string;
  name: string | undefined;
  takesOrders: boolean;
}

export interface OrderBookOptions {
  /** Open ones and those that ended lately. @default 128 */
  maxOrders?: number;
  /** @default 16 */
  maxOpenPerMember?: number;
  /** Pairs of order and node. @default 100000 */
  maxEntries?: number;
}

export interface OrderBookDependencies {
  newId: () => string;
  agents: () => Iterable<OrderableAgent>;
  /** Neither gives nor gets orders. */
  isSuspended: (peerId: string) => boolean;
  /** What `save` gives for this order is another than before. */
  onChange?: (id: string, what: 'order' | 'progress') => void;
}

interface Entry extends PrefetchNode {
  saidAtMs: number;
}

interface Order extends Omit<PrefetchOrder, 'nodes'> {
  placedBy: string;
  progressAtMs: number;
  endedAtMs: number | undefined;
  /** By PeerId. */
  byAgent: Map<string, Entry>;
  /** What was asked for and is not there. */
  missing: Entry[];
  /** Nodes that wait or fetch. */
  openCount: number;
}

/** An order as plain data. */
export interface SavedOrder extends Omit<Order, 'byAgent' | 'openCount' | 'endedAtMs'> {
  endedAtMs?: number | undefined;
  byAgent: [peerId: string, entry: Entry][];
}

export class OrderBook {
  readonly #options: Required<OrderBookOptions>;
  readonly #dependencies: OrderBookDependencies;
  /** The oldest first. */
  readonly #orders = new Map<string, Order>();
  /** Those in which the agent waits or fetches. */
  readonly #openOf = new Map<string, Set<Order>>();
  #entries = 0;

  constructor(options: OrderBookOptions, dependencies: OrderBookDependencies) {
    this.#options = {
      maxOrders: DEFAULT_MAX_ORDERS,
      maxOpenPerMember: DEFAULT_MAX_OPEN_PER_MEMBER,
      maxEntries: DEFAULT_MAX_ENTRIES,
      ...options,
    };
    this.#dependencies = dependencies;
  }

  /** Orders that are not ended. */
  get openCount(): number {
    let count = 0;
    for (const { state } of this.#orders.values()) if (state === 'open') count++;
    return count;
  }

  save(id: string): SavedOrder | undefined {
    const known = this.#orders.get(id);
    if (known === undefined) return undefined;
    const { byAgent, openCount: _, ...order } = known;
    return { ...order, byAgent: [...byAgent] };
  }

  /** Goes on with what another book had saved; the oldest first. */
  restore({ byAgent, endedAtMs, ...saved }: SavedOrder): void {
    if (this.#orders.has(saved.id) || this.#orders.size >= this.#options.maxOrders) return;
    const order: Order = { ...saved, endedAtMs, byAgent: new Map(byAgent), openCount: 0 };
    for (const [peerId, entry] of order.byAgent) if (isOpen(entry)) this.#opened(order, peerId);
    this.#entries += order.byAgent.size + order.missing.length;
    this.#orders.set(order.id, order);
  }

  /** Agents that wait or fetch, whether they are there or not. */
  busy(): string[] {
    return [...this.#openOf.keys()];
  }

  /** @throws ApiError SUSPENDED, BAD_REQUEST, TOO_MANY_REQUESTS */
  place(peerId: string, request: PrefetchRequest, nowMs: number): PrefetchOrder {
    if (this.#dependencies.isSuspended(peerId)) throw suspended();
    const { agents, missing } = this.#chosen(request);
    this.#makeRoom(peerId, agents.length + missing.length);
    const { images, platform, bytesPerSecond } = request;
    const order: Order = {
      id: this.#dependencies.newId(),
      images,
      ...(platform === undefined ? {} : { platform }),
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      orderedBy: this.#nameOf(peerId),
      orderedAtMs: nowMs,
      state: 'open',
      placedBy: peerId,
      progressAtMs: nowMs,
      endedAtMs: undefined,
      byAgent: new Map(),
      missing: missing.map((name) =>
        failedEntry(name, 'no agent of this name is there: it is down, or named otherwise', nowMs),
      ),
      openCount: 0,
    };
    for (const agent of agents) this.#enter(order, agent, nowMs);
    this.#entries += order.byAgent.size + order.missing.length;
    this.#orders.set(order.id, order);
    this.#endIfDone(order, nowMs);
    this.#changed(order);
    return viewOf(order);
  }

  /** Whether the agent should ask for its tasks. */
  hasNews(peerId: string, nowMs: number): boolean {
    const open = this.#openOf.get(peerId);
    if (open === undefined || this.#dependencies.isSuspended(peerId)) return false;
    for (const { byAgent } of open) {
      const entry = byAgent.get(peerId);
      if (entry?.state === 'waiting' || (entry !== undefined && nowMs - entry.saidAtMs >= QUIET_MS)) return true;
    }
    return false;
  }

  /** What the agent is to do, the oldest first. */
  tasks(peerId: string): PrefetchTask[] {
    if (this.#dependencies.isSuspended(peerId)) return [];
    return [...(this.#openOf.get(peerId) ?? [])].map(({ id, images, platform, bytesPerSecond }) => ({
      id,
      images,
      ...(platform === undefined ? {} : { platform }),
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    }));
  }

  /** Whether the agent is to go on. */
  progress(peerId: string, { id, ...said }: PrefetchProgress, nowMs: number): { wanted: boolean } {
    const order = this.#orders.get(id);
    const entry = order?.byAgent.get(peerId);
    if (order === undefined || entry === undefined || !isOpen(entry)) return { wanted: false };
    if (this.#dependencies.isSuspended(peerId)) {
      this.#fail(order, peerId, 'suspended: it is suspected of having passed on wrong bytes', nowMs);
      return { wanted: false };
    }
    if (said.state !== entry.state || said.doneBytes > entry.doneBytes) order.progressAtMs = nowMs;
    Object.assign(entry, said, { saidAtMs: nowMs });
    if (!isOpen(entry)) this.#closed(order, peerId, nowMs);
    this.#changed(order, 'progress');
    return { wanted: isOpen(entry) };
  }

  find(id: string): PrefetchOrder | undefined {
    const order = this.#orders.get(id);
    return order && viewOf(order);
  }

  /** The newest first. */
  list(): PrefetchSummary[] {
    return [...this.#orders.values()].reverse().map(summaryOf);
  }

  /** Undefined when it is not known. One that has ended stays as it is. */
  cancel(id: string, nowMs: number): PrefetchOrder | undefined {
    const order = this.#orders.get(id);
    if (order === undefined) return undefined;
    this.#end(order, 'cancelled', 'cancelled', nowMs);
    return viewOf(order);
  }

  /** The agent is not there any more. */
  gone(peerId: string, why: string, nowMs: number): void {
    for (const order of [...(this.#openOf.get(peerId) ?? [])]) this.#fail(order, peerId, why, nowMs);
  }

  /** The member was barred: it has no part in orders, and what it ordered is not done. */
  distrust(peerId: string, nowMs: number): void {
    this.gone(peerId, 'barred from the cluster', nowMs);
    for (const order of this.#orders.values()) {
      if (order.placedBy === peerId) this.#end(order, 'cancelled', 'who ordered it was barred from the cluster', nowMs);
    }
  }

  expire(nowMs: number): void {
    for (const order of this.#orders.values()) {
      if (nowMs - order.progressAtMs >= ORDER_EXPIRES_MS) {
        this.#end(order, 'expired', 'no node got any further for an hour', nowMs);
      }
      if (order.endedAtMs !== undefined && nowMs - order.endedAtMs >= ORDER_KEPT_MS) this.#drop(order);
    }
  }

  #chosen({ names, zone }: PrefetchRequest): { agents: OrderableAgent[]; missing: string[] } {
    const wanted = names === undefined ? undefined : new Set(names);
    const found = new Set<string>();
    const agents: OrderableAgent[] = [];
    for (const agent of this.#dependencies.agents()) {
      if (zone !== undefined && agent.zone !== zone) continue;
      const called = [agent.name, agent.peerId].filter((name) => name !== undefined && wanted?.has(name));
      if (wanted !== undefined && called.length === 0) continue;
      for (const name of called) if (name !== undefined) found.add(name);
      agents.push(agent);
      if (agents.length > MAX_ORDER_NODES) {
        throw new ApiError(400, 'BAD_REQUEST', `more than ${MAX_ORDER_NODES} nodes; order by zone or by name`);
      }
    }
    const missing = [...(wanted ?? [])].filter((name) => !found.has(name));
    if (agents.length + missing.length === 0) throw new ApiError(400, 'BAD_REQUEST', 'no agent is there in that zone');
    return { agents, missing };
  }

  #makeRoom(peerId: string, entries: number): void {
    const { maxOrders, maxOpenPerMember, maxEntries } = this.#options;
    const own = [...this.#orders.values()].filter(({ placedBy, state }) => placedBy === peerId && state === 'open');
    if (own.length >= maxOpenPerMember) throw tooMany(`${own.length} orders of this node are under way`);
    for (const order of this.#orders.values()) {
      if (this.#orders.size < maxOrders && this.#entries + entries <= maxEntries) return;
      if (order.state !== 'open') this.#drop(order);
    }
    if (this.#orders.size >= maxOrders || this.#entries + entries > maxEntries)
      throw tooMany('too many orders are under way');
  }

  #enter(order: Order, agent: OrderableAgent, nowMs: number): void {
    const { peerId, zone, takesOrders } = agent;
    const name = agent.name ?? peerId;
    const refusal = this.#dependencies.isSuspended(peerId)
      ? 'suspended: it is suspected of having passed on wrong bytes'
      : takesOrders
        ? undefined
        : 'takes no orders: an older version, or --accept-prefetch false';
    if (refusal !== undefined) {
      order.byAgent.set(peerId, { ...failedEntry(name, refusal, nowMs), zone });
      return;
    }
    const nothing = { doneBytes: 0, fromPeers: 0, fromOrigin: 0 };
    order.byAgent.set(peerId, { name, zone, state: 'waiting', ...nothing, saidAtMs: nowMs });
    this.#opened(order, peerId);
  }

  #opened(order: Order, peerId: string): void {
    order.openCount++;
    const open = this.#openOf.get(peerId) ?? new Set();
    this.#openOf.set(peerId, open.add(order));
  }

  #changed({ id }: Order, what: 'order' | 'progress' = 'order'): void {
    this.#dependencies.onChange?.(id, what);
  }

  #fail(order: Order, peerId: string, reason: string, nowMs: number): void {
    const entry = order.byAgent.get(peerId);
    if (entry === undefined || !isOpen(entry)) return;
    Object.assign(entry, { state: 'failed', reason });
    this.#closed(order, peerId, nowMs);
    this.#changed(order, 'progress');
  }

  #closed(order: Order, peerId: string, nowMs: number): void {
    order.openCount--;
    const open = this.#openOf.get(peerId);
    open?.delete(order);
    if (open?.size === 0) this.#openOf.delete(peerId);
    this.#endIfDone(order, nowMs);
  }

  #endIfDone(order: Order, nowMs: number): void {
    if (order.state === 'open' && order.openCount === 0) Object.assign(order, { state: 'ended', endedAtMs: nowMs });
  }

  #end(order: Order, state: 'cancelled' | 'expired', reason: string, nowMs: number): void {
    if (order.state !== 'open') return;
    Object.assign(order, { state, endedAtMs: nowMs });
    for (const peerId of order.byAgent.keys()) this.#fail(order, peerId, reason, nowMs);
    this.#changed(order);
  }

  #drop(order: Order): void {
    this.#orders.delete(order.id);
    this.#entries -= order.byAgent.size + order.missing.length;
    this.#changed(order);
  }

  #nameOf(peerId: string): string {
    for (const agent of this.#dependencies.agents()) if (agent.peerId === peerId) return agent.name ?? peerId;
    return peerId;
  }
}

function isOpen({ state }: Entry): boolean {
  return state === 'waiting' || state === 'fetching';
}

function failedEntry(name: string, reason: string, saidAtMs: number): Entry {
  return { name, state: 'failed', doneBytes: 0, fromPeers: 0, fromOrigin: 0, reason, saidAtMs };
}

function viewOf(order: Order): PrefetchOrder {
  const nodes = [...order.byAgent.values(), ...order.missing].map(({ saidAtMs: _, ...node }) => node);
  return { ...aboutOf(order), nodes };
}

function summaryOf(order: Order): PrefetchSummary {
  const counts = { waiting: 0, fetching: 0, done: 0, failed: order.missing.length };
  for (const { state } of order.byAgent.values()) counts[state]++;
  return { ...aboutOf(order), ...counts };
}

function aboutOf({
  id,
  images,
  platform,
  bytesPerSecond,
  orderedBy,
  orderedAtMs,
  state,
}: Order): Omit<PrefetchOrder, 'nodes'> {
  return {
    id,
    images,
    ...(platform === undefined ? {} : { platform }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    orderedBy,
    orderedAtMs,
    state,
  };
}

function suspended(): ApiError {
  return new ApiError(
    403,
    'SUSPENDED',
    'this member is suspected of a lie and can order nothing until that is settled',
  );
}

function tooMany(what: string): ApiError {
  return new ApiError(429, 'TOO_MANY_REQUESTS', `${what}; wait for one to end, or cancel it`);
}
