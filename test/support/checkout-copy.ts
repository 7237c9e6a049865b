// What a clone of this checkout would have, with what is changed here and not committed yet.
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from './daemon/process.ts';

const ROOT = join(import.meta.dirname, '../..');

export async function copyCheckout(to: string): Promise<void> {
  const listed = await run('git', ['-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard']);
  for (const name of listed.split('\0').filter(Boolean)) {
    await mkdir(dirname(join(to, name)), { recursive: true });
    await cp(join(ROOT, name), join(to, name), { verbatimSymlinks: true }).catch((error: NodeJS.ErrnoException) => {
      // Removed here, and that is not committed yet.
      if (error.code !== 'ENOENT') throw error;
    });
  }
}
