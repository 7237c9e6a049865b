// A control group for what runs in a daemon's folder. Most daemons need none: they stay in the test's. It is for a systemd, which
// takes a whole tree for its units. The hierarchy of cgroup v2 is mounted in the folder, wherever else this machine has it or not.
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './process.ts';

const EMPTY_WITHIN_MS = 5_000;
const POLL_MS = 20;

const hierarchyOf = (folder: string): string => join(folder, 'cgroups');
const groupOf = (folder: string): string => join(hierarchyOf(folder), basename(folder));

/** A group without any process, of the folder's name; gives where it is. */
export async function makeCgroup(folder: string): Promise<string> {
  await mkdir(hierarchyOf(folder));
  await run('mount', ['-t', 'cgroup2', 'cgroup2', hierarchyOf(folder)]);
  await mkdir(groupOf(folder));
  return groupOf(folder);
}

/** Ends what still runs in the folder's group and in those below it, and removes them; there may be none. */
export async function removeCgroup(folder: string): Promise<void> {
  const group = groupOf(folder);
  await untilEmpty(EMPTY_WITHIN_MS, async () => {
    await writeFile(join(group, 'cgroup.kill'), '1');
    await removeTree(group);
  });
}

/** Removes a group whose processes are gone or about to be, and those below it; there may be none. @throws EBUSY after that time */
export function removeDyingCgroup(group: string, withinMs: number = EMPTY_WITHIN_MS): Promise<void> {
  return untilEmpty(withinMs, () => removeTree(group));
}

async function untilEmpty(withinMs: number, remove: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      return await remove();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      // A killed process is in its group until it is gone.
      if (code !== 'EBUSY' || performance.now() > deadline) throw error;
      await sleep(POLL_MS);
    }
  }
}

/** Groups are removed like empty folders, whatever files the kernel shows in them. */
async function removeTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(path, entry.name));
  }
  await rmdir(path);
}
