/** Who tried wrong tokens, and is not listened to for a while, whatever is said then. */
import { LRUCache } from 'lru-cache';

export const MAX_WRONG_TOKENS = 10;
export const BLOCKED_MS = 60_000;
const MAX_ADDRESSES = 10_000;

export class WrongTokens {
  readonly #clock: () => number;
  readonly #tried = new LRUCache<string, { count: number; untilMs: number }>({ max: MAX_ADDRESSES });

  constructor({ clock }: { clock: () => number }) {
    this.#clock = clock;
  }

  isBlocked(address: string): boolean {
    const tried = this.#current(address);
    return tried !== undefined && tried.count >= MAX_WRONG_TOKENS;
  }

  /** @returns whether it was the last one that is allowed */
  note(address: string): boolean {
    const count = (this.#current(address)?.count ?? 0) + 1;
    this.#tried.set(address, { count, untilMs: this.#clock() + BLOCKED_MS });
    return count === MAX_WRONG_TOKENS;
  }

  #current(address: string): { count: number; untilMs: number } | undefined {
    const tried = this.#tried.get(address);
    return tried !== undefined && tried.untilMs > this.#clock() ? tried : undefined;
  }
}
