/**
 * Where a registry last sent an asker for a blob: the signed address serves the next range, too, without a question to the
 * registry, until the storage refuses it. Addresses are as good as credentials: they are kept per asker, and shown nowhere.
 */
import type { Digest } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import { type Asker, askerKey } from './asker.ts';
import type { Repository } from './origin-client.ts';

const MAX_ADDRESSES = 1_024;
/** Most live for 5 to 20 minutes. */
const USED_FOR_MS: number = 4 * 60_000;

export class SignedAddresses {
  readonly #clock: () => number;
  readonly #held = new LRUCache<string, { url: URL; untilMs: number }>({ max: MAX_ADDRESSES });

  /** @param clock milliseconds */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  find(repository: Repository, digest: Digest, asker: Asker): URL | undefined {
    const held = this.#held.get(keyOf(repository, digest, asker));
    return held !== undefined && this.#clock() < held.untilMs ? held.url : undefined;
  }

  remember(repository: Repository, digest: Digest, asker: Asker, url: URL): void {
    this.#held.set(keyOf(repository, digest, asker), { url, untilMs: this.#clock() + USED_FOR_MS });
  }

  /** Unless another address has taken the place of `url` meanwhile. */
  forget(repository: Repository, digest: Digest, asker: Asker, url: URL): void {
    const key = keyOf(repository, digest, asker);
    if (this.#held.get(key)?.url === url) this.#held.delete(key);
  }
}

function keyOf({ registry, name }: Repository, digest: Digest, asker: Asker): string {
  return `${registry}/${name} ${digest} ${askerKey(asker)}`;
}
