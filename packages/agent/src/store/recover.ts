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
import { join } from 'node:path';
import { type Digest, digestHex, parseDigest } from '@shoal/oci';
import { pieceCountOf, pieceExtent } from '@shoal/swarm';
import type { Logger } from 'pino';
import { checkBlob } from './blob-check.ts';
import { BlobIndex, type BlobMeta, IndexCorrupt } from './blob-index.ts';
import { BLOB_FOLDERS, removeFile, type StoreLayout, unusable } from './layout.ts';
import { Ledger } from './ledger.ts';

const FILES_AT_ONCE = 16;
const HASHED_AT_ONCE = 2;

export interface RecoverDependencies {
  layout: StoreLayout;
  logger: Logger;
  clock: () => number;
}

interface FoundBlob {
  digest: Digest;
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
  const known = new Map<Digest, BlobMeta>();
  for await (const [digest, meta] of index.blobs()) known.set(digest, meta);

  const found = await findBlobs(index, known, counts, dependencies);
  const here = new Set(found.map((blob) => blob.digest));
  for (const digest of known.keys()) {
    if (here.has(digest)) continue;
    await tolerate(index.deleteBlob(digest), logger);
    counts.forgotten++;
  }

  const ledger = new Ledger();
  found.sort((left, right) => left.meta.usedAt - right.meta.usedAt);
  for (const { digest, meta } of found) {
    const { sizeBytes, mediaType, usedAt } = meta;
    ledger.addBlob(mediaType === undefined ? { digest, sizeBytes } : { digest, sizeBytes, mediaType }, usedAt);
  }
  await recoverPartials(index, ledger, dependencies);
  if (counts.reindexed + counts.removed + counts.forgotten > 0) {
    logger.info({ ...counts, blobs: ledger.blobCount }, 'brought the index and the blob files into step');
  }
  return ledger;
}

async function findBlobs(
  index: BlobIndex,
  known: ReadonlyMap<Digest, BlobMeta>,
  counts: Counts,
  dependencies: RecoverDependencies,
): Promise<FoundBlob[]> {
  const found: FoundBlob[] = [];
  const unknown: Digest[] = [];
  const digests: Digest[] = [];
  for (const algorithm of BLOB_FOLDERS) {
    for (const name of await readdir(dependencies.layout.blobFolder(algorithm))) {
      const digest = parseDigest(`${algorithm}:${name}`);
      if (digest !== undefined) digests.push(digest);
    }
  }
  await eachOf(digests, FILES_AT_ONCE, async (digest) => {
    const meta = known.get(digest);
    if (meta === undefined) {
      unknown.push(digest);
      return;
    }
    const path = dependencies.layout.blob(digest);
    const file = await stat(path);
    if (file.isFile() && file.size === meta.sizeBytes) found.push({ digest, meta });
    else {
      dependencies.logger.warn(
        { digest, sizeBytes: file.size, expectedBytes: meta.sizeBytes },
        'dropped a damaged blob',
      );
      await removeFile(path);
      counts.removed++;
    }
  });
  if (unknown.length > 0) {
    dependencies.logger.info({ blobs: unknown.length }, 'hashing blob files that the index does not know');
  }
  await eachOf(unknown, HASHED_AT_ONCE, async (digest) => {
    const meta = await reindex(index, digest, dependencies);
    if (meta === undefined) counts.removed++;
    else {
      counts.reindexed++;
      found.push({ digest, meta });
    }
  });
  return found;
}

/** Hashes a file that the index does not know; a wrong one is removed. */
async function reindex(
  index: BlobIndex,
  digest: Digest,
  { layout, logger }: RecoverDependencies,
): Promise<BlobMeta | undefined> {
  const path = layout.blob(digest);
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size, mtimeMs } = await file.stat();
    const pieceHashes = await checkBlob(file, digest, size).catch(() => undefined);
    if (pieceHashes !== undefined) {
      const meta: BlobMeta = { sizeBytes: size, usedAt: Math.floor(mtimeMs) };
      await tolerate(index.putBlob(digest, meta, pieceHashes), logger);
      return meta;
    }
  } finally {
    await file.close();
  }
  logger.warn({ digest }, 'removed a file that does not hash to its name');
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
  const headed = new Set<Digest>();
  for await (const [digest, meta] of index.partials()) {
    headed.add(digest);
    const complete = ledger.blob(digest) !== undefined;
    if (!complete && files.delete(digestHex(digest))) {
      let heldBytes = 0;
      for (const piece of pieces.get(digest) ?? []) {
        if (piece < pieceCountOf(meta.sizeBytes)) heldBytes += pieceExtent(meta.sizeBytes, piece).length;
      }
      const { sizeBytes, usedAt } = meta;
      ledger.addPartial({ digest, sizeBytes, usedAt, heldBytes, open: false });
    } else {
      await tolerate(index.deletePartial(digest), logger);
    }
  }
  for (const digest of pieces.keys()) if (!headed.has(digest)) await tolerate(index.deletePartial(digest), logger);
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
