import { dirname } from 'node:path';
import type { Files, SetupOptions } from './plan.ts';

export const mirror = { url: 'http://127.0.0.1:7300', host: '127.0.0.1:7300' };

/** Options that leave every file in its usual place. */
export function options(given: Partial<SetupOptions> = {}): SetupOptions {
  return { mirror, configFile: undefined, registriesDir: undefined, registries: [], ...given };
}

/** A machine with these files. */
export function memoryFiles(held: Readonly<Record<string, string>> = {}): Files {
  return {
    read: async (path) => held[path],
    list: async (folder) => {
      const below = Object.keys(held).filter((path) => path.startsWith(`${folder}/`));
      return [...new Set(below.map((path) => path.slice(folder.length + 1).split('/')[0] ?? ''))].sort();
    },
  };
}

/** The machine after the changes. */
export function after(
  held: Readonly<Record<string, string>>,
  changes: readonly { path: string; after: string }[],
): Record<string, string> {
  for (const { path } of changes) if (dirname(path) === '/') throw new Error(`${path} is no place for a file`);
  return { ...held, ...Object.fromEntries(changes.map((change) => [change.path, change.after])) };
}
