import type { Logger } from 'pino';
import { type BlobRecord, type BlobStore, type RemovalReason, StoreError } from './blob-store.ts';
import { FileBlobStore } from './file-blob-store.ts';
import { freeDiskBytes } from './free-space.ts';
import { StoreLayout } from './layout.ts';
import { Pins, pinnedLimitBytes } from './pins.ts';
import { openRecovered } from './recover.ts';

/** Ratios of the quota: eviction starts above the first and goes on down to the second. */
export const DEFAULT_HIGH_WATER = 1;
export const DEFAULT_LOW_WATER = 0.9;
export const DEFAULT_MIN_FREE_DISK_BYTES: number = 1024 ** 3;

export interface StoreOptions {
  /** The folder that holds everything; made when it is not there. One agent at a time. */
  dataDir: string;
  /** Committed and reserved bytes stay under this. */
  quotaBytes: number;
  /** @default DEFAULT_HIGH_WATER */
  highWater?: number;
  /** @default DEFAULT_LOW_WATER */
  lowWater?: number;
  /** Bytes that stay free on the disk; 0 turns the floor off. @default DEFAULT_MIN_FREE_DISK_BYTES */
  minFreeDiskBytes?: number;
}

export interface StoreDependencies {
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
  /** A committed blob is no longer found. Called before its file goes. */
  onEvicted?: (blob: BlobRecord, reason: RemovalReason) => void;
  /** Bytes free on the disk of `dataDir`. @default statfs */
  diskFree?: () => Promise<number>;
}

export interface ResizableStore extends BlobStore {
  /** Takes other limits; what is over them goes at once. @throws StoreError disk-full; the limits hold nevertheless */
  resize(limits: { quotaBytes: number; minFreeDiskBytes: number }): Promise<void>;
}

/**
 * Opens the store, bringing index and files into step first.
 * @throws StoreError unwritable (not a folder, forbidden, in use by another agent), disk-full, io
 */
export async function openStore(options: StoreOptions, dependencies: StoreDependencies): Promise<ResizableStore> {
  const { dataDir, quotaBytes } = options;
  const { logger, clock, onEvicted } = dependencies;
  const layout = new StoreLayout(dataDir);
  await layout.prepare();
  const { index, ledger } = await openRecovered({ layout, logger, clock });
  const highWater = options.highWater ?? DEFAULT_HIGH_WATER;
  const limitBytes = pinnedLimitBytes({ quotaBytes, highWater });
  const pins = await Pins.load({ path: layout.pins, limitBytes }, { ledger, logger }).catch(async (error: unknown) => {
    await index.close();
    throw error;
  });
  const store = new FileBlobStore(
    {
      quotaBytes,
      highWater,
      lowWater: options.lowWater ?? DEFAULT_LOW_WATER,
      minFreeDiskBytes: options.minFreeDiskBytes ?? DEFAULT_MIN_FREE_DISK_BYTES,
    },
    {
      layout,
      index,
      ledger,
      pins,
      logger,
      clock,
      onEvicted,
      diskFree: dependencies.diskFree ?? (() => freeDiskBytes(dataDir)),
    },
  );
  try {
    await store.trim();
  } catch (error) {
    if (!(error instanceof StoreError) || !['disk-full', 'over-quota'].includes(error.code)) {
      await store.close();
      throw error;
    }
    const what = error.code === 'disk-full' ? 'too little disk is free' : 'too much is pinned';
    logger.warn({ err: error }, `${what}: what is here is served, nothing new is kept`);
  }
  return store;
}
