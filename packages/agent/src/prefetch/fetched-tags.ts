/** What the tags were that this process prefetched, for its operator: to clients a prefetch says nothing. */
import type { Digest } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import type { Repository } from '../origin/origin-client.ts';

const MAX_TAGS = 1_024;

export class FetchedTags {
  readonly #roots = new LRUCache<string, Digest>({ max: MAX_TAGS });

  note(repository: Repository, tag: string, root: Digest): void {
    this.#roots.set(keyOf(repository, tag), root);
  }

  /** The digest of the manifest or index that the tag named when it was prefetched last. */
  of(repository: Repository, tag: string): Digest | undefined {
    return this.#roots.get(keyOf(repository, tag));
  }
}

function keyOf({ registry, name }: Repository, tag: string): string {
  return JSON.stringify([registry, name, tag]);
}
