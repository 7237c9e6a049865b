/** Agents met lately that speak nothing that this one does: nothing is traded with them until one of the two is updated. */
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { StrangeAgent } from './tls/tls-transport.ts';

const MAX_STRANGERS = 64;
/** They are dialled again and again; one that was updated is forgotten after this. */
const FORGET_AFTER_MS: number = 10 * 60_000;

export interface StrangersDependencies {
  /** What this agent speaks. */
  versions: readonly string[];
  logger: Logger;
  /** Each time that one is met. */
  onMet?: (() => void) | undefined;
}

export class Strangers {
  readonly #met = new LRUCache<string, StrangeAgent>({ max: MAX_STRANGERS, ttl: FORGET_AFTER_MS });
  readonly #dependencies: StrangersDependencies;

  constructor(dependencies: StrangersDependencies) {
    this.#dependencies = dependencies;
  }

  met(stranger: StrangeAgent): void {
    const { versions, logger, onMet } = this.#dependencies;
    onMet?.();
    const key = stranger.peerId ?? stranger.host;
    if (!this.#met.has(key)) {
      const { peerId, host, versions: theirs } = stranger;
      logger.warn(
        { peer: peerId, host, theirs: theirs ?? 'not told', ours: versions },
        'an agent speaks no version of the protocol that this one does: nothing is traded with it; update the older of the two',
      );
    }
    this.#met.set(key, stranger);
  }

  /** This member was connected: it has been updated. */
  forget(peerId: string): void {
    this.#met.delete(peerId);
  }

  all(): StrangeAgent[] {
    return [...this.#met.values()];
  }
}
