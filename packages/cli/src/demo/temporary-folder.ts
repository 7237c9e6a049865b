/** A folder for one demo: made with enough room below it, gone afterwards. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandFailure } from '../command-failure.ts';
import { megabytes } from './report.ts';

/** Agents stop storing when the disk has less than this left, and so do people. */
const FREE_DISK_FLOOR_BYTES: number = 1024 ** 3;

export interface TemporaryFolder {
  path: string;
  /** @throws CommandFailure when less than that, and a reserve, is free. */
  needs(bytes: number): Promise<void>;
  remove(): Promise<void>;
  /** For the moment before the process ends. */
  removeNow(): void;
}

export async function makeTemporaryFolder(parent: string): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(parent, 'shoal-demo-'));
  const removal = { recursive: true, force: true, maxRetries: 3 };
  return {
    path,
    needs: async (bytes) => {
      const { bavail, bsize } = await statfs(path);
      const freeBytes = bavail * bsize;
      if (freeBytes >= bytes + FREE_DISK_FLOOR_BYTES) return;
      throw new CommandFailure([
        `shoal demo: needs ${megabytes(bytes + FREE_DISK_FLOOR_BYTES)} of disk in ${parent}, and ${megabytes(freeBytes)} are free`,
        'take fewer nodes (--nodes 2), or set TMPDIR to a folder on a larger disk',
      ]);
    },
    remove: () => rm(path, removal),
    removeNow: () => rmSync(path, removal),
  };
}
