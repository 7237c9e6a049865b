/** Holds the tracker's leave to read the origin: asks for it, renews it while bytes come in, gives it back. */
import type { Digest } from '@shoal/oci';
import type { SwarmEvent } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';

const RENEW_EVERY_MS = 500;

export interface LeaseKeeperOptions {
  digest: Digest;
  sizeBytes: number;
  /** Grants are counted per registry. */
  registry: () => string;
}

export interface LeaseKeeperEvents {
  onEvent(event: SwarmEvent): void;
  onPeers(peers: readonly PeerRecord[]): void;
}

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #tracker: TrackerClient;
  readonly #events: LeaseKeeperEvents;
  #lease: { id: string; timer: NodeJS.Timeout } | undefined;
  #bytesRead = 0;
  #closed = false;

  constructor(options: LeaseKeeperOptions, tracker: TrackerClient, events: LeaseKeeperEvents) {
    this.#options = options;
    this.#tracker = tracker;
    this.#events = events;
  }

  /** Bytes from the origin keep the lease alive. */
  progressed(bytes: number): void {
    this.#bytesRead += bytes;
  }

  async ask(starved: boolean): Promise<void> {
    const { digest, sizeBytes } = this.#options;
    const answer = await this.#tracker.lease({ digest, sizeBytes, registry: this.#options.registry(), starved });
    if (this.#closed) {
      if (answer?.granted === true) this.#tracker.release(answer.leaseId, false);
      return;
    }
    if (answer === undefined) {
      this.#events.onEvent({ type: 'lease-unavailable' });
    } else if (answer.granted) {
      this.#keep(answer.leaseId);
      this.#events.onEvent({ type: 'lease-granted', leaseId: answer.leaseId });
    } else {
      this.#events.onPeers(answer.peers);
      this.#events.onEvent({ type: 'lease-refused', retryAfterMs: answer.retryAfterMs });
    }
  }

  release(leaseId: string, done: boolean): void {
    if (this.#lease?.id === leaseId) this.#forget();
    this.#tracker.release(leaseId, done);
  }

  close(): void {
    this.#closed = true;
    if (this.#lease !== undefined) this.release(this.#lease.id, false);
  }

  #keep(leaseId: string): void {
    this.#forget();
    const timer = setInterval(() => void this.#renew(leaseId), RENEW_EVERY_MS);
    this.#lease = { id: leaseId, timer };
  }

  async #renew(leaseId: string): Promise<void> {
    const held = await this.#tracker.renew(leaseId, this.#bytesRead);
    if (held !== false || this.#lease?.id !== leaseId) return;
    this.#forget();
    this.#events.onEvent({ type: 'lease-lost' });
  }

  #forget(): void {
    if (this.#lease !== undefined) clearInterval(this.#lease.timer);
    this.#lease = undefined;
  }
}
