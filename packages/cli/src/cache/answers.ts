/** What an agent says about its cache. */
import { z } from 'zod';
import { oneLine } from '../command-failure.ts';

const text = z.string().transform(oneLine);

export const blobSchema = z.object({
  registry: text,
  digest: text,
  sizeBytes: z.number(),
  /** What it is, as far as a manifest in the cache tells. */
  kind: text.optional(),
  mediaType: text.optional(),
  usedAt: text,
  pinned: z.boolean(),
  inUse: z.boolean(),
});
export type CachedBlob = z.infer<typeof blobSchema>;

export const usageSchema = z.object({
  bytes: z.number(),
  blobs: z.number(),
  quotaBytes: z.number(),
  pinnedBytes: z.number(),
  pinLimitBytes: z.number(),
  /** Shared from containerd's own store, beside the cache. */
  inRuntime: z.object({ blobs: z.number(), bytes: z.number() }).optional(),
});
export type CacheUsage = z.infer<typeof usageSchema>;

const pinSchema = z.object({
  name: text,
  blobs: z.number(),
  bytes: z.number(),
  /** Of its blobs, those that are not in the cache. */
  missing: z.number(),
});
export type CachePin = z.infer<typeof pinSchema>;

export const pinsSchema = z.object({ pins: z.array(pinSchema), usage: usageSchema });
export const pinnedSchema = z.object({ pins: z.array(pinSchema) });
export const unpinnedSchema = z.object({ unpinned: z.array(text) });

/** `named` holds the first 1,000. */
const wentSchema = z.object({
  blobs: z.number(),
  bytes: z.number(),
  named: z.array(blobSchema),
  usage: usageSchema,
});
export const removedSchema = wentSchema.extend({ keptPinned: z.number() });
export const prunedSchema = wentSchema.extend({ partials: z.number() });

export const verifySchema = z.object({
  checkedBlobs: z.number(),
  checkedBytes: z.number(),
  totalBlobs: z.number(),
  totalBytes: z.number(),
  /** Since the line before. */
  damaged: z.array(blobSchema),
  done: z.boolean(),
});
