import type { BlobId } from '@shoal/oci';
import type { Logger } from 'pino';
import { type BlobStore, StoreError } from './blob-store.ts';
import { FileBlobStore } from './file-blob-store.ts';
import { freeDiskBytes } from './free-space.ts';
import { StoreLayout } from './layout.ts';
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
  /** A committed blob is no longer found: evicted, dropped or damaged. Called before its file goes. */
  onEvicted?: (id: BlobId) => void;
  /** Bytes free on the disk of `dataDir`. @default statfs */
  diskFree?: () => Promise<number>;
}

/**
 * Opens the store, bringing index and files into step first.
 * @throws StoreError unwritable (not a folder, forbidden, in use by another agent), disk-full, io
 */
export async function openStore(options: StoreOptions, dependencies: StoreDependencies): Promise<BlobStore> {
  const { dataDir, quotaBytes } = options;
  const { logger, clock, onEvicted } = dependencies;
  const layout = new StoreLayout(dataDir);
  await layout.prepare();
  const { index, ledger } = await openRecovered({ layout, logger, clock });
  const store = new FileBlobStore(
    {
      quotaBytes,
      highWater: options.highWater ?? DEFAULT_HIGH_WATER,
      lowWater: options.lowWater ?? DEFAULT_LOW_WATER,
      minFreeDiskBytes: options.minFreeDiskBytes ?? DEFAULT_MIN_FREE_DISK_BYTES,
    },
    {
      layout,
      index,
      ledger,
      logger,
      clock,
      onEvicted,
      diskFree: dependencies.diskFree ?? (() => freeDiskBytes(dataDir)),
    },
  );
  try {
    await store.trim();
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'disk-full') {
      await store.close();
      throw error;
    }
    logger.warn({ err: error }, 'too little disk is free: what is here is served, nothing new is kept');
  }
  return store;
}
