/**
 * Where things lie under the data folder. Every folder is 0700 and every file 0600: the bytes of private images pass
 * through here, and access to them is decided elsewhere.
 *
 *     blobs/sha256/<hex>@<registry>   committed, named by what they hash to; or `blobs/sha512/…`
 *     partial/<hex>@<registry>        arriving; with `.put-<n>` while a small object is written
 *     pins.json                       what is never evicted; `.new` while it is written
 *     index/                          the level database; `index.corrupt-<time>` is one that was moved aside
 */
import { access, chmod, constants, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BlobId,
  type DigestAlgorithm,
  digestAlgorithm,
  digestHex,
  digestOf,
  parseBlobId,
  registryOf,
} from '@shoal/oci';
import { StoreError } from './blob-store.ts';
import { hasCode, storeErrorFrom } from './failure.ts';

const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;
const ALGORITHMS = ['sha256', 'sha512'] as const;

export class StoreLayout {
  readonly root: string;
  readonly partials: string;
  readonly index: string;
  readonly pins: string;

  constructor(dataDir: string) {
    this.root = dataDir;
    this.partials = join(dataDir, 'partial');
    this.index = join(dataDir, 'index');
    this.pins = join(dataDir, 'pins.json');
  }

  blobFolder(id: BlobId): string {
    return this.#blobFolder(digestAlgorithm(digestOf(id)));
  }

  blob(id: BlobId): string {
    return join(this.blobFolder(id), nameOf(id));
  }

  partial(id: BlobId): string {
    return join(this.partials, nameOf(id));
  }

  /** @throws StoreError unwritable, disk-full, io */
  async prepare(): Promise<void> {
    const folders = [join(this.root, 'blobs'), ...ALGORITHMS.map((name) => this.#blobFolder(name))];
    folders.push(this.partials, this.index);
    try {
      await mkdir(this.root, { recursive: true, mode: FOLDER_MODE });
      for (const folder of folders) {
        await makeFolder(folder);
        await chmod(folder, FOLDER_MODE);
        await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      }
    } catch (error) {
      throw unusable(this.root, error);
    }
  }

  /** Every file that is named like a blob. */
  async *blobs(): AsyncGenerator<BlobId> {
    for (const algorithm of ALGORITHMS) {
      for (const name of await readdir(this.#blobFolder(algorithm))) {
        const [hex, registry] = name.split('@');
        const id = parseBlobId(`${registry}/${algorithm}:${hex}`);
        if (id !== undefined && nameOf(id) === name) yield id;
      }
    }
  }

  #blobFolder(algorithm: DigestAlgorithm): string {
    return join(this.root, 'blobs', algorithm);
  }
}

/** At most 255 bytes can be the name of a file: what a registry with a very long one has is not kept. */
function nameOf(id: BlobId): string {
  return `${digestHex(digestOf(id))}@${registryOf(id)}`;
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
