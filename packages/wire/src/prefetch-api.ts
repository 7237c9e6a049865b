/**
 * Orders to prefetch: a part of the tracker's API (`tracker-api.ts`). Any member may order, ask and cancel. An agent learns
 * from the answer to an announcement that there are orders for it, fetches them, and says how far it is.
 *
 * | call                       | request            | answer                         |
 * | -------------------------- | ------------------ | ------------------------------ |
 * | POST /v1/prefetch/order    | PrefetchRequest    | PrefetchOrder                  |
 * | POST /v1/prefetch/find     | { id }             | PrefetchOrder or 404           |
 * | POST /v1/prefetch/list     | {}                 | { orders: PrefetchSummary[] }  |
 * | POST /v1/prefetch/cancel   | { id }             | PrefetchOrder or 404           |
 * | POST /v1/prefetch/tasks    | {}                 | { tasks: PrefetchTask[] }      |
 * | POST /v1/prefetch/progress | PrefetchProgress   | { wanted }                     |
 */
import { z } from 'zod';

export const MAX_ORDER_IMAGES = 16;
/** Names in one order; all nodes of a zone or of the cluster may be more. */
export const MAX_ORDER_NAMES = 1_000;
/** Most nodes that one order can be for. */
export const MAX_ORDER_NODES = 10_000;
/** Orders that are told of at once. */
export const MAX_TOLD_ORDERS = 128;
/** With less, a piece may take longer than a pull waits for anything new: 1 MiB per second. */
export const MIN_PREFETCH_BYTES_PER_SECOND: number = 2 ** 20;
const MAX_IMAGE_CHARACTERS = 512;
const MAX_REASON_CHARACTERS = 300;

const NODE_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/** 1 to 64 letters, digits, dots, dashes and underscores. */
export function isNodeName(text: string): boolean {
  return NODE_NAME.test(text);
}

export const nodeName = z.string().refine(isNodeName);
const orderId = z.string().min(1).max(64);
const zone = z.string().max(64);
const bytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const atMs = z.number();
const images = z.array(z.string().min(1).max(MAX_IMAGE_CHARACTERS)).min(1).max(MAX_ORDER_IMAGES);
/** `linux/amd64`, or `all`; each node's own when it is left out. */
const platform = z.string().min(1).max(96);
const bytesPerSecond = z.number().int().min(MIN_PREFETCH_BYTES_PER_SECOND).max(Number.MAX_SAFE_INTEGER);
/** One line, for people. */
const reason = z.string().max(MAX_REASON_CHARACTERS);

/** What is to be prefetched; `bytesPerSecond` is of each node. */
const wish = { images, platform: platform.optional(), bytesPerSecond: bytesPerSecond.optional() };

/** For these names (or PeerIds), or for a zone, or for every node. */
export const prefetchRequestSchema = z.object({
  ...wish,
  names: z.array(z.string().min(1).max(128)).min(1).max(MAX_ORDER_NAMES).optional(),
  zone: zone.optional(),
});
export type PrefetchRequest = z.infer<typeof prefetchRequestSchema>;

/** What one agent is to do. */
const prefetchTask = z.object({ id: orderId, ...wish });
export type PrefetchTask = z.infer<typeof prefetchTask>;
export const prefetchTasksSchema = z.object({ tasks: z.array(prefetchTask).max(MAX_TOLD_ORDERS) });

/**
 * `doneBytes` of `totalBytes` are on the node's disk, of which `fromPeers` and `fromOrigin` came for this order; the total is
 * unknown until the manifests are read. `reason` is of a failure.
 */
const progress = {
  doneBytes: bytes,
  totalBytes: bytes.optional(),
  fromPeers: bytes,
  fromOrigin: bytes,
  reason: reason.optional(),
};

export const prefetchProgressSchema = z.object({
  id: orderId,
  state: z.enum(['fetching', 'done', 'failed']),
  ...progress,
});
export type PrefetchProgress = z.infer<typeof prefetchProgressSchema>;
/** Not wanted: the order was cancelled, or is not known (any more). */
export const prefetchWantedSchema = z.object({ wanted: z.boolean() });

const prefetchNode = z.object({
  /** Its PeerId where the agent told no name, and what was asked for where no such agent is known. */
  name: z.string().max(128),
  zone: zone.optional(),
  state: z.enum(['waiting', 'fetching', 'done', 'failed']),
  ...progress,
});
export type PrefetchNode = z.infer<typeof prefetchNode>;

/** `open` while a node waits or fetches. `expired`: for long no node got further. */
const about = {
  id: orderId,
  ...wish,
  orderedBy: z.string().max(128),
  orderedAtMs: atMs,
  state: z.enum(['open', 'ended', 'cancelled', 'expired']),
};

export const prefetchOrderSchema = z.object({ ...about, nodes: z.array(prefetchNode).max(MAX_ORDER_NODES) });
export type PrefetchOrder = z.infer<typeof prefetchOrderSchema>;

const count = z.number().int().nonnegative();
const prefetchSummary = z.object({ ...about, waiting: count, fetching: count, done: count, failed: count });
export type PrefetchSummary = z.infer<typeof prefetchSummary>;
export const prefetchListSchema = z.object({ orders: z.array(prefetchSummary).max(MAX_TOLD_ORDERS) });

export const prefetchIdSchema = z.object({ id: orderId });

/** A reason cut to what travels. */
export function shortReason(text: string): string {
  return text.length > MAX_REASON_CHARACTERS ? `${text.slice(0, MAX_REASON_CHARACTERS - 1)}…` : text;
}
