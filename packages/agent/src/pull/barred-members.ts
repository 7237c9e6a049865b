/** Members to have nothing to do with: those that the tracker names, and those that this agent itself saw lie. */
import { LRUCache } from 'lru-cache';
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';

const MAX_CONVICTED = 1_000;
const CONVICTED_MS = 60 * 60_000;

export interface BarredMembersDependencies {
  tracker: Pick<TrackerClient, 'barred'>;
  network: Pick<PeerNetwork, 'bar'>;
  /** Somebody may be barred who was not before. */
  onChange: () => void;
}

export class BarredMembers {
  readonly #dependencies: BarredMembersDependencies;
  readonly #convicted = new LRUCache<string, true>({ max: MAX_CONVICTED, ttl: CONVICTED_MS });
  #all: ReadonlySet<string> = new Set();

  constructor(dependencies: BarredMembersDependencies) {
    this.#dependencies = dependencies;
  }

  get all(): ReadonlySet<string> {
    return this.#all;
  }

  /** This agent read from the origin what differs from what that member signed. */
  convict(peerId: string): void {
    this.#convicted.set(peerId, true);
    this.refresh();
  }

  /** To be called when the tracker names others than before. */
  refresh(): void {
    this.#all = new Set([...this.#convicted.keys(), ...this.#dependencies.tracker.barred()]);
    this.#dependencies.network.bar(this.#all);
    this.#dependencies.onChange();
  }
}
