/**
 * Brings index and files into step when the store opens, whatever moment the last agent died at. Files are the truth:
 *
 *     file │ index │
 *     yes  │ yes   │ kept, unless the sizes differ: then both go
 *     yes  │ no    │ hashed: right → indexed again, wrong → removed
 *     no   │ yes   │ the record goes
 *
 * A partial needs both its file and its header; its pieces are checked when somebody resumes it.
 */
import { constants } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type BlobId, digestOf } from '@shoal/oci';
import { pieceCountOf, pieceExtent } from '@shoal/swarm';
import type { Logger } from 'pino';
import { checkBlob } from './blob-check.ts';
import { BlobIndex, type BlobMeta, IndexCorrupt } from './blob-index.ts';
import { removeFile, type StoreLayout, unusable } from './layout.ts';
import { Ledger } from './ledger.ts';

const FILES_AT_ONCE = 16;
const HASHED_AT_ONCE = 2;

export interface RecoverDependencies {
  layout: StoreLayout;
  logger: Logger;
  clock: () => number;
}

interface FoundBlob {
  id: BlobId;
  meta: BlobMeta;
}

interface Counts {
  reindexed: number;
  removed: number;
  forgotten: number;
}

/** Opens the index and reads what the store holds. @throws StoreError unwritable, disk-full, io */
export async function openRecovered(dependencies: RecoverDependencies): Promise<{ index: BlobIndex; ledger: Ledger }> {
  const { layout, logger, clock } = dependencies;
  try {
    return await attempt(dependencies);
  } catch (error) {
    if (!(error instanceof IndexCorrupt)) throw unusable(layout.root, error);
    const aside = `${layout.index}.corrupt-${new Date(clock()).toISOString().replaceAll(':', '-')}`;
    await forgetOlderDamage(layout);
    await rename(layout.index, aside).catch((cause: unknown) => {
      throw unusable(layout.root, cause);
    });
    await layout.prepare();
    logger.warn({ err: error, aside }, 'the index was damaged and is moved aside; it is rebuilt by hashing every blob');
  }
  try {
    return await attempt(dependencies);
  } catch (error) {
    throw unusable(layout.root, error);
  }
}

async function attempt(dependencies: RecoverDependencies): Promise<{ index: BlobIndex; ledger: Ledger }> {
  const index = await BlobIndex.open(dependencies.layout.index);
  try {
    return { index, ledger: await recover(index, dependencies) };
  } catch (error) {
    await index.close().catch(() => undefined);
    throw error;
  }
}

/** Only the newest damaged index is worth keeping. */
async function forgetOlderDamage(layout: StoreLayout): Promise<void> {
  for (const name of await readdir(layout.root)) {
    if (name.startsWith('index.corrupt-')) await rm(join(layout.root, name), { recursive: true, force: true });
  }
}

async function recover(index: BlobIndex, dependencies: RecoverDependencies): Promise<Ledger> {
  const { logger } = dependencies;
  const counts: Counts = { reindexed: 0, removed: 0, forgotten: 0 };
  const known = new Map<BlobId, BlobMeta>();
  for await (const [id, meta] of index.blobs()) known.set(id, meta);

  const found = await findBlobs(index, known, counts, dependencies);
  const here = new Set(found.map((blob) => blob.id));
  for (const id of known.keys()) {
    if (here.has(id)) continue;
    await tolerate(index.deleteBlob(id), logger);
    counts.forgotten++;
  }

  const ledger = new Ledger();
  found.sort((left, right) => left.meta.usedAt - right.meta.usedAt);
  for (const { id, meta } of found) {
    const { sizeBytes, mediaType, usedAt } = meta;
    ledger.addBlob(mediaType === undefined ? { id, sizeBytes } : { id, sizeBytes, mediaType }, usedAt);
  }
  await recoverPartials(index, ledger, dependencies);
  if (counts.reindexed + counts.removed + counts.forgotten > 0) {
    logger.info({ ...counts, blobs: ledger.blobCount }, 'brought the index and the blob files into step');
  }
  return ledger;
}

async function findBlobs(
  index: BlobIndex,
  known: ReadonlyMap<BlobId, BlobMeta>,
  counts: Counts,
  dependencies: RecoverDependencies,
): Promise<FoundBlob[]> {
  const found: FoundBlob[] = [];
  const unknown: BlobId[] = [];
  const ids: BlobId[] = [];
  for await (const id of dependencies.layout.blobs()) ids.push(id);
  await eachOf(ids, FILES_AT_ONCE, async (id) => {
    const meta = known.get(id);
    if (meta === undefined) {
      unknown.push(id);
      return;
    }
    const path = dependencies.layout.blob(id);
    const file = await stat(path);
    if (file.isFile() && file.size === meta.sizeBytes) found.push({ id, meta });
    else {
      dependencies.logger.warn(
        { blob: id, sizeBytes: file.size, expectedBytes: meta.sizeBytes },
        'dropped a damaged blob',
      );
      await removeFile(path);
      counts.removed++;
    }
  });
  if (unknown.length > 0) {
    dependencies.logger.info({ blobs: unknown.length }, 'hashing blob files that the index does not know');
  }
  await eachOf(unknown, HASHED_AT_ONCE, async (id) => {
    const meta = await reindex(index, id, dependencies);
    if (meta === undefined) counts.removed++;
    else {
      counts.reindexed++;
      found.push({ id, meta });
    }
  });
  return found;
}

/** Hashes a file that the index does not know; a wrong one is removed. */
async function reindex(
  index: BlobIndex,
  id: BlobId,
  { layout, logger }: RecoverDependencies,
): Promise<BlobMeta | undefined> {
  const path = layout.blob(id);
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size, mtimeMs } = await file.stat();
    const pieceHashes = await checkBlob(file, digestOf(id), size).catch(() => undefined);
    if (pieceHashes !== undefined) {
      const meta: BlobMeta = { sizeBytes: size, usedAt: Math.floor(mtimeMs) };
      await tolerate(index.putBlob(id, meta, pieceHashes), logger);
      return meta;
    }
  } finally {
    await file.close();
  }
  logger.warn({ blob: id }, 'removed a file that does not hash to its name');
  await removeFile(path);
  return undefined;
}

async function recoverPartials(
  index: BlobIndex,
  ledger: Ledger,
  { layout, logger }: RecoverDependencies,
): Promise<void> {
  const files = new Set(await readdir(layout.partials));
  const pieces = await index.pieceIndexes();
  const headed = new Set<BlobId>();
  for await (const [id, meta] of index.partials()) {
    headed.add(id);
    const complete = ledger.blob(id) !== undefined;
    if (!complete && files.delete(basename(layout.partial(id)))) {
      let heldBytes = 0;
      for (const piece of pieces.get(id) ?? []) {
        if (piece < pieceCountOf(meta.sizeBytes)) heldBytes += pieceExtent(meta.sizeBytes, piece).length;
      }
      const { sizeBytes, usedAt } = meta;
      ledger.addPartial({ id, sizeBytes, usedAt, heldBytes, open: false });
    } else {
      await tolerate(index.deletePartial(id), logger);
    }
  }
  for (const id of pieces.keys()) if (!headed.has(id)) await tolerate(index.deletePartial(id), logger);
  for (const name of files) await removeFile(join(layout.partials, name));
}

/** On a full disk the index cannot be corrected; what it says is then corrected again at the next start. */
async function tolerate(writing: Promise<void>, logger: Logger): Promise<void> {
  await writing.catch((error: unknown) => logger.warn({ err: error }, 'the index could not be corrected'));
}

async function eachOf<T>(items: readonly T[], atOnce: number, task: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const workers = Array.from({ length: atOnce }, async () => {
    for (const item of rest) await task(item);
  });
  await Promise.all(workers);
}
