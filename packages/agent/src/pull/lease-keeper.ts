/**
 * The tracker's leaves to get runs of one blob: asks for them, renews those that are held (at most two), gives them back.
 * A lease lives while its holder gets on, so every renewal says how far it has come.
 */
import type { LeaseSource, ReleaseHow, SwarmAction, SwarmEvent } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { SizedBlob } from './blob-size.ts';

const RENEW_EVERY_MS = 500;
const MAX_SILENT = 8;

export interface LeaseKeeperEvents {
  onEvent(event: SwarmEvent): void;
  /** Members that have what this agent was sent for, or that read it now. */
  onPeers(peers: readonly PeerRecord[]): void;
  /** Members that were dialled in vain for what they have. */
  unreachable(): string[];
  /** This agent should read that piece from the origin and sign it. */
  onWitness(index: number): void;
  onGranted(source: LeaseSource): void;
  /** How far the swarm has come with a lease; undefined when it gave it up. */
  progress(leaseId: string): { next: number; held: number } | undefined;
}

interface Lease {
  readonly id: string;
  readonly source: LeaseSource;
  readonly from: number;
  to: number;
  /** Read from the origin before this lease. */
  readonly bytesBefore: number;
  /** Not told to the tracker yet. */
  ranges: boolean | undefined;
  renewing: Promise<void> | undefined;
}

export class LeaseKeeper {
  readonly #target: SizedBlob;
  readonly #tracker: TrackerClient;
  readonly #events: LeaseKeeperEvents;
  readonly #leases = new Map<string, Lease>();
  #timer: NodeJS.Timeout | undefined;
  #originBytes = 0;
  #asking = 0;
  #closed = false;

  constructor(target: SizedBlob, tracker: TrackerClient, events: LeaseKeeperEvents) {
    this.#target = target;
    this.#tracker = tracker;
    this.#events = events;
  }

  /** Bytes from the origin keep its leases alive: also the next one, which waits for its turn. */
  progressed(bytes: number): void {
    this.#originBytes += bytes;
  }

  /** Whether a lease is held or being asked for. */
  get busy(): boolean {
    return this.#leases.size + this.#asking > 0;
  }

  async ask(action: Extract<SwarmAction, { type: 'ask-lease' }>): Promise<void> {
    const { blob, sizeBytes } = this.#target;
    const { starved, piece, avoid } = action;
    const silent = [...new Set([...action.silent, ...this.#events.unreachable()])].slice(0, MAX_SILENT);
    this.#asking++;
    const asked = this.#tracker.lease({
      blob,
      sizeBytes,
      starved,
      ...(piece !== undefined && { piece }),
      ...(avoid.length > 0 && { avoid: [...avoid] }),
      ...(silent.length > 0 && { silent }),
    });
    const answer = await asked.finally(() => this.#asking--);
    if (this.#closed) {
      if (answer?.granted === true) this.#tracker.release(answer.leaseId, { how: 'unneeded', next: answer.from });
      return;
    }
    if (answer === undefined) {
      this.#events.onEvent({ type: 'lease-unavailable' });
      return;
    }
    this.#events.onPeers(answer.peers);
    if (answer.witness !== undefined) this.#events.onWitness(answer.witness.index);
    if (!answer.granted || answer.source === 'audit') {
      this.#events.onEvent({ type: 'lease-refused', retryAfterMs: answer.granted ? 0 : answer.retryAfterMs });
      return;
    }
    const { leaseId, from, to, source } = answer;
    this.#hold({
      id: leaseId,
      source,
      from,
      to,
      bytesBefore: this.#originBytes,
      ranges: undefined,
      renewing: undefined,
    });
    this.#events.onGranted(source);
    this.#events.onEvent({ type: 'lease-granted', leaseId, from, to, source });
  }

  /** Asks to be the one that audits the blob; that lasts 10 s. Undefined when no tracker answers. */
  async askAudit(): Promise<boolean | undefined> {
    const answer = await this.#tracker.lease({ ...this.#target, starved: false, audit: 'ask' });
    if (answer?.witness !== undefined && !this.#closed) this.#events.onWitness(answer.witness.index);
    return answer?.granted;
  }

  /** Found nothing to do about: the next one need not wait until it is seen that this one has stopped. */
  endAudit(): void {
    void this.#tracker.lease({ ...this.#target, starved: false, audit: 'end' });
  }

  /**
   * Whether the origin honours ranges, seen when reading from piece `from` on. Told to the tracker at once; resolves
   * when the lease's end is known.
   */
  async rangesKnown(from: number, honoured: boolean): Promise<void> {
    for (const lease of this.#leases.values()) {
      if (lease.source !== 'origin' || from < lease.from || from >= lease.to) continue;
      lease.ranges = honoured;
      await lease.renewing;
      await this.#renew(lease);
      return;
    }
  }

  release(leaseId: string, how: ReleaseHow, next: number): void {
    this.#forget(leaseId);
    this.#tracker.release(leaseId, { how, next });
  }

  close(): void {
    this.#closed = true;
    for (const { id, from } of [...this.#leases.values()]) {
      this.release(id, 'unneeded', this.#events.progress(id)?.next ?? from);
    }
  }

  #hold(lease: Lease): void {
    this.#leases.set(lease.id, lease);
    this.#timer ??= setInterval(() => {
      for (const held of this.#leases.values()) if (held.renewing === undefined) void this.#renew(held);
    }, RENEW_EVERY_MS);
  }

  #renew(lease: Lease): Promise<void> {
    lease.renewing = this.#tellProgress(lease).finally(() => {
      lease.renewing = undefined;
    });
    return lease.renewing;
  }

  async #tellProgress(lease: Lease): Promise<void> {
    const progress = this.#events.progress(lease.id);
    if (progress === undefined) return;
    const { next, held } = progress;
    const { ranges } = lease;
    const bytes = lease.source === 'origin' ? this.#originBytes - lease.bytesBefore : held;
    const answer = await this.#tracker.renew(lease.id, { bytes, next, ...(ranges !== undefined && { ranges }) });
    if (answer === undefined || this.#leases.get(lease.id) !== lease) return;
    if (lease.ranges === ranges) lease.ranges = undefined;
    if (!answer.held) {
      this.#forget(lease.id);
      this.#events.onEvent({ type: 'lease-lost', leaseId: lease.id });
    } else if (answer.to !== lease.to) {
      lease.to = answer.to;
      this.#events.onEvent({ type: 'lease-changed', leaseId: lease.id, to: answer.to });
    }
  }

  #forget(leaseId: string): void {
    this.#leases.delete(leaseId);
    if (this.#leases.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
