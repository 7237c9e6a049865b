/**
 * Where things lie under the data folder. Every folder is 0700 and every file 0600: the bytes of private images pass
 * through here, and access to them is decided elsewhere.
 *
 *     blobs/<registry>/sha256/<hex>   committed, named by what they hash to; or `sha512`
 *     partial/<hex>                   arriving, named by a hash of their name; with `.put-<n>` while a small object is written
 *     index/                          the level database; `index.corrupt-<time>` is one that was moved aside
 */
import { hash } from 'node:crypto';
import { access, chmod, constants, mkdir, open, readdir, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type BlobId, digestAlgorithm, digestHex, digestOf, parseBlobId, registryOf } from '@shoal/oci';
import { StoreError } from './blob-store.ts';
import { hasCode, storeErrorFrom } from './failure.ts';

const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;
const ALGORITHMS = ['sha256', 'sha512'] as const;

export class StoreLayout {
  readonly root: string;
  readonly partials: string;
  readonly index: string;
  readonly #blobs: string;
  /** Folders known to be there. */
  readonly #made = new Set<string>();

  constructor(dataDir: string) {
    this.root = dataDir;
    this.#blobs = join(dataDir, 'blobs');
    this.partials = join(dataDir, 'partial');
    this.index = join(dataDir, 'index');
  }

  blobFolder(id: BlobId): string {
    return join(this.#blobs, registryOf(id), digestAlgorithm(digestOf(id)));
  }

  blob(id: BlobId): string {
    return join(this.blobFolder(id), digestHex(digestOf(id)));
  }

  /** A host and a sha512 digest together may be longer than a file's name can be. */
  partialName(id: BlobId): string {
    return hash('sha256', id);
  }

  partial(id: BlobId): string {
    return join(this.partials, this.partialName(id));
  }

  /** @throws StoreError unwritable, disk-full, io */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.root, { recursive: true, mode: FOLDER_MODE });
      for (const folder of [this.#blobs, this.partials, this.index]) {
        await makeFolder(folder);
        await chmod(folder, FOLDER_MODE);
        await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      }
    } catch (error) {
      throw unusable(this.root, error);
    }
  }

  /** Makes the folder that the blob will lie in, so that it survives a power cut. */
  async prepareFor(id: BlobId): Promise<void> {
    const folder = this.blobFolder(id);
    if (this.#made.has(folder)) return;
    for (const path of [dirname(folder), folder]) {
      await makeFolder(path);
      await syncFolder(dirname(path));
    }
    this.#made.add(folder);
  }

  /** Every file that is named like a blob. Folders with nothing in them are removed. Meant for the store's start. */
  async *blobs(): AsyncGenerator<BlobId> {
    for (const registry of await readdir(this.#blobs)) {
      for (const algorithm of ALGORITHMS) {
        const folder = join(this.#blobs, registry, algorithm);
        for (const hex of await namesIn(folder)) {
          const id = parseBlobId(`${registry}/${algorithm}:${hex}`);
          if (id !== undefined) yield id;
        }
        await removeIfEmpty(folder);
      }
      await removeIfEmpty(join(this.#blobs, registry));
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return [];
    throw error;
  });
}

async function removeIfEmpty(folder: string): Promise<void> {
  // Whatever is in the way, an empty folder does no harm.
  await rmdir(folder).catch(() => undefined);
}

/** Not recursive: on a read-only file system a recursive mkdir says ENOENT instead of what is wrong. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: FOLDER_MODE }).catch((error: unknown) => {
    if (!hasCode(error, 'EEXIST')) throw error;
  });
}

/** Says which folder cannot be used and what to do about it. */
export function unusable(dataDir: string, cause: unknown): StoreError {
  const named = storeErrorFrom(cause, `cannot keep blobs in ${dataDir}`);
  if (hasCode(cause, 'LEVEL_LOCKED')) {
    return new StoreError('unwritable', `${dataDir} is in use by another agent; give this one a folder of its own`, {
      cause,
    });
  }
  // On a folder that does not exist and cannot be made (/proc, a path through a file) the system says ENOENT or ENOTDIR.
  if (named.code !== 'unwritable' && !hasCode(cause, 'ENOENT')) return named;
  const hint = 'it must be a folder this user can write to; create it, change its owner, or choose another data folder';
  return new StoreError('unwritable', `${named.message} (${hint})`, { cause });
}

/** Makes renames and removals in a folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Removes a file; one that is already gone is fine. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw storeErrorFrom(error, `cannot remove ${path}`);
  }
}
