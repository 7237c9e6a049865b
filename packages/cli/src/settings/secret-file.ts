/** Files that a setting names: `@FILE` for the join token, password files, certificates. */
import { readFileSync, statSync } from 'node:fs';

const MAX_BYTES: number = 2 ** 20;

/** What is in the file without the white space around it, or why it cannot be read as the end of a sentence. */
export function readNamedFile(path: string): { text: string } | { problem: string } {
  try {
    const { size } = statSync(path);
    if (size > MAX_BYTES) return { problem: 'is larger than 1 MiB; check the path' };
    return { text: readFileSync(path, 'utf8').trim() };
  } catch (error) {
    return { problem: fileProblem(error) };
  }
}

export function fileProblem(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist; check the path';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user; check its owner and mode';
    case 'EISDIR':
      return 'is a folder; name a file';
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return 'is not UTF-8 text; check that it is the right file';
    default:
      return `cannot be read (${String(code ?? 'unknown reason')}); check the path`;
  }
}
