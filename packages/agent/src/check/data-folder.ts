/** The state of a data folder, found out by writing to it: rights, read-only file systems and quotas show nowhere else. */
import { randomBytes } from 'node:crypto';
import { open, stat, statfs, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const TRIAL_BYTES = 4_096;

export interface DataFolderStanding {
  path: string;
  /** False: it will be made; the rest is about the nearest folder above it that exists. */
  exists: boolean;
  freeBytes: number;
  totalBytes: number;
  /** Why nothing can be written, by the system's code, e.g. `EROFS`; undefined when something can. */
  problem?: string;
}

/** Never rejects. */
export async function checkDataFolder(path: string): Promise<DataFolderStanding> {
  let folder = resolve(path);
  let exists = true;
  for (;;) {
    try {
      const found = await stat(folder);
      if (found.isDirectory()) break;
      return { path, exists, freeBytes: 0, totalBytes: 0, problem: 'ENOTDIR' };
    } catch (error) {
      const above = dirname(folder);
      if (codeOf(error) !== 'ENOENT' || above === folder)
        return { path, exists, freeBytes: 0, totalBytes: 0, problem: codeOf(error) };
      folder = above;
      exists = false;
    }
  }
  const disk = await statfs(folder).catch(() => undefined);
  const standing = {
    path,
    exists,
    freeBytes: (disk?.bavail ?? 0) * (disk?.bsize ?? 0),
    totalBytes: (disk?.blocks ?? 0) * (disk?.bsize ?? 0),
  };
  const problem = await writeProblem(folder);
  return problem === undefined ? standing : { ...standing, problem };
}

async function writeProblem(folder: string): Promise<string | undefined> {
  const path = join(folder, `.shoal-check-${randomBytes(6).toString('hex')}.tmp`);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(Buffer.alloc(TRIAL_BYTES));
      await file.sync();
    } finally {
      await file.close();
      await unlink(path);
    }
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason';
}
