/** Files that a setting names: the configuration, `@FILE` for the join token, password files, certificates. */
import { closeSync, openSync, readSync } from 'node:fs';
import { codeOf } from '../error-code.ts';

const MAX_BYTES: number = 2 ** 20;

/** What is in the file, or why it cannot be read as the end of a sentence. */
export function readNamedFile(path: string): { text: string } | { problem: string } {
  try {
    const bytes = readBounded(path);
    if (bytes.length > MAX_BYTES) return { problem: 'is larger than 1 MiB; check the path' };
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    return { problem: fileProblem(error) };
  }
}

/** At most one byte more than allowed: devices and pipes do not tell their size. */
function readBounded(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    let read: number;
    do {
      read = readSync(file, buffer, length, buffer.length - length, null);
      length += read;
    } while (read > 0 && length < buffer.length);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

function fileProblem(error: unknown): string {
  const code = codeOf(error);
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
      return `cannot be read (${code ?? 'unknown reason'}); check the path`;
  }
}
