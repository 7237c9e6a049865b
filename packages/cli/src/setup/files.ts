/** The machine's configuration files, read-only. */
import { readdir, readFile } from 'node:fs/promises';
import { codeOf } from '../error-code.ts';
import { type Files, SetupProblem } from './plan.ts';

export const machineFiles: Files = {
  async read(path) {
    const bytes = await readFile(path).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw new SetupProblem(`${path} cannot be read (${reasonOf(error)}); run this as root`);
    });
    if (bytes === undefined) return undefined;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new SetupProblem(`${path} is not UTF-8 text; mend it first`);
    }
  },
  async list(path) {
    try {
      return (await readdir(path)).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw new SetupProblem(`${path} cannot be read (${reasonOf(error)}); run this as root`);
    }
  },
};

export function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The code, in words where there is none. */
export function reasonOf(error: unknown): string {
  return codeOf(error) ?? 'unknown reason';
}
