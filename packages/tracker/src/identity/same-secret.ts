import { hash, timingSafeEqual } from 'node:crypto';

/** Compares hashes, so neither content nor length shows in the time it takes. */
export function sameSecret(given: string, expected: string): boolean {
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', expected, 'buffer'));
}
