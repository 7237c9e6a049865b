import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { codeOf } from '../error-code.ts';

const FOLDER_MODE = 0o700;

/**
 * Makes the folder and those missing above it, one by one: Node's recursive mkdir never returns where a file system
 * refuses new folders with ENOENT, as /proc does. Only the folder itself is closed to others. Something that is there already is left to whoever uses it.
 * @throws the system's error
 */
export async function makeDataFolder(path: string): Promise<void> {
  await makeFolder(resolve(path), FOLDER_MODE);
}

async function makeFolder(folder: string, mode?: number): Promise<void> {
  const options = mode === undefined ? {} : { mode };
  try {
    await mkdir(folder, options);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(folder) === folder) throw error;
    await makeFolder(dirname(folder));
    await mkdir(folder, options).catch((second: unknown) => {
      if (codeOf(second) !== 'EEXIST') throw second;
    });
  }
}
