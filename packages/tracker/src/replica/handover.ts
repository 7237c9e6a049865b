/**
 * What a leader leaves to the next one, as it is on the shelf: who reads which pieces, disputes that are not settled, orders to
 * prefetch. Whatever does not fit is left out with a warning: at worst something is read, judged or ordered again.
 *
 *   blob!HOST/DIGEST   SavedBlobLeases
 *   order!ID           SavedOrder
 *   disputes           SavedDispute[]
 */
import { type BlobId, parseBlobId } from '@shoal/oci';
import type { DisputeTable, LeaseTable, SavedBlobLeases, SavedDispute } from '@shoal/swarm';
import { MAX_ORDER_NODES, prefetchOrderSchema } from '@shoal/wire';
import type { Logger } from 'pino';
import { type ZodType, z } from 'zod';
import type { OrderBook, SavedOrder } from '../orders/order-book.ts';
import type { Shelf } from '../state/shelf.ts';

const BLOB_PREFIX = 'blob!';
const ORDER_PREFIX = 'order!';
export const DISPUTES_KEY = 'disputes';
/** More than a table has. */
const MAX_ITEMS = 65_536;

export interface HandedOver {
  leases: LeaseTable;
  disputes: DisputeTable;
  orders: OrderBook;
}

const text = z.string().max(512);
const count = z.number().nonnegative();
const run = z.tuple([count, count]);
const runs = z.array(run).max(MAX_ITEMS);
const got = z.array(z.tuple([text, count, count])).max(MAX_ITEMS);

const blobLeasesSchema: ZodType<SavedBlobLeases> = z.object({
  sizeBytes: count,
  unread: runs,
  zones: z.array(z.object({ name: text, lacks: runs, vain: runs, got })).max(MAX_ITEMS),
  elsewhere: got,
  leases: z
    .array(
      z.object({
        id: text,
        agent: text,
        zone: text,
        source: z.enum(['origin', 'zone']),
        from: count,
        to: count,
        next: count,
        bytes: count,
        whole: z.boolean(),
        extra: z.boolean(),
        shared: z.boolean(),
      }),
    )
    .max(MAX_ITEMS),
  ranges: z.boolean().optional(),
});

const blobId = z.custom<BlobId>((value) => typeof value === 'string' && parseBlobId(value) !== undefined);
const disputesSchema: ZodType<SavedDispute[]> = z
  .array(
    z.object({
      blob: blobId,
      index: count,
      statements: z.array(z.tuple([text, text])).max(MAX_ITEMS),
      accused: z.array(text).max(MAX_ITEMS),
      witnesses: z.array(text).max(MAX_ITEMS),
      endsAtMs: z.number(),
      witness: z.object({ agent: text, untilMs: z.number() }).optional(),
    }),
  )
  .max(MAX_ITEMS);

const entry = prefetchOrderSchema.shape.nodes.element.extend({ saidAtMs: z.number() });
const orderSchema: ZodType<SavedOrder> = prefetchOrderSchema.omit({ nodes: true }).extend({
  placedBy: text,
  progressAtMs: z.number(),
  endedAtMs: z.number().optional(),
  byAgent: z.array(z.tuple([text, entry])).max(MAX_ORDER_NODES),
  missing: z.array(entry).max(MAX_ORDER_NODES),
});

export function keyOfBlob(blob: BlobId): string {
  return BLOB_PREFIX + blob;
}

export function keyOfOrder(id: string): string {
  return ORDER_PREFIX + id;
}

/** What stands under the key now; undefined: nothing any more. */
export function currentValue(key: string, { leases, disputes, orders }: HandedOver, nowMs: number): unknown {
  if (key === DISPUTES_KEY) return disputes.save();
  if (key.startsWith(ORDER_PREFIX)) return orders.save(key.slice(ORDER_PREFIX.length));
  const blob = parseBlobId(key.slice(BLOB_PREFIX.length));
  return blob && leases.save(blob, nowMs);
}

/** @returns the blobs that the shelf has something of @throws whatever reading the shelf does */
export async function takeOver(
  shelf: Pick<Shelf, 'entries'>,
  { leases, disputes, orders }: HandedOver,
  { nowMs, logger }: { nowMs: number; logger: Logger },
): Promise<Set<BlobId>> {
  const blobs = new Set<BlobId>();
  const ordered: SavedOrder[] = [];
  let damaged = 0;
  for await (const [key, value] of shelf.entries('')) {
    const blob = key.startsWith(BLOB_PREFIX) ? parseBlobId(key.slice(BLOB_PREFIX.length)) : undefined;
    if (blob !== undefined) {
      const saved = blobLeasesSchema.safeParse(value);
      blobs.add(blob);
      if (saved.success) leases.restore(blob, saved.data, nowMs);
      else damaged++;
    } else if (key.startsWith(ORDER_PREFIX)) {
      const saved = orderSchema.safeParse(value);
      if (saved.success) ordered.push(saved.data);
      else damaged++;
    } else if (key === DISPUTES_KEY) {
      const saved = disputesSchema.safeParse(value);
      if (saved.success) disputes.restore(saved.data);
      else damaged++;
    }
  }
  ordered.sort((one, other) => one.orderedAtMs - other.orderedAtMs);
  for (const each of ordered) orders.restore(each);
  if (damaged > 0) logger.warn({ damaged }, 'some of what the former leader left does not fit and is left out');
  return blobs;
}
