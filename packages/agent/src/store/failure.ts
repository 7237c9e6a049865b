import { StoreError, type StoreErrorCode } from './blob-store.ts';

const CODES: Record<string, StoreErrorCode> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  EACCES: 'unwritable',
  EPERM: 'unwritable',
  EROFS: 'unwritable',
  ENOTDIR: 'unwritable',
  EEXIST: 'unwritable',
  LEVEL_LOCKED: 'unwritable',
};

/** LevelDB reports the system's words instead of its error number. */
const LEVEL_WORDS: readonly [RegExp, StoreErrorCode][] = [
  [/no space left on device|disk quota exceeded/i, 'disk-full'],
  [/permission denied|read-only file system|operation not permitted/i, 'unwritable'],
];

/** The error itself and what caused it, outermost first; a cycle ends the walk. */
function* chainOf(error: unknown): Generator<Error & { code?: unknown }> {
  let current = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    yield current;
    current = current.cause;
  }
}

/** Whether `error`, or what caused it, carries this code. */
export function hasCode(error: unknown, code: string): boolean {
  for (const link of chainOf(error)) if (link.code === code) return true;
  return false;
}

/** Names a failed system or index call in the store's own closed set of codes; a StoreError passes through. */
export function storeErrorFrom(cause: unknown, doing: string): StoreError {
  if (cause instanceof StoreError) return cause;
  let code: StoreErrorCode = 'io';
  let deepest = String(cause);
  for (const link of chainOf(cause)) {
    deepest = link.message;
    const known = typeof link.code === 'string' ? CODES[link.code] : undefined;
    const worded = LEVEL_WORDS.find(([words]) => words.test(link.message));
    code = known ?? worded?.[1] ?? code;
  }
  return new StoreError(code, `${doing}: ${deepest}`, { cause });
}
