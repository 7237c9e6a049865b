import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

const FOLDER_MODE = 0o700;

/**
 * Makes the folder and those missing above it, one by one: Node's recursive mkdir never returns where a file system
 * refuses new folders with ENOENT, as /proc does. Something that is there already is left to whoever uses it.
 * @throws the system's error
 */
export async function makeDataFolder(path: string): Promise<void> {
  const folder = resolve(path);
  try {
    await mkdir(folder, { mode: FOLDER_MODE });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(folder) === folder) throw error;
    await makeDataFolder(dirname(folder));
    await mkdir(folder, { mode: FOLDER_MODE }).catch((second: unknown) => {
      if (codeOf(second) !== 'EEXIST') throw second;
    });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
