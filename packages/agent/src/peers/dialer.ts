/**
 * Connects to the peers that others asked for: a few at a time, each within a deadline, none twice at once, and one that
 * failed not again before its back-off is over. It never retries by itself; whoever still wants the peer asks again.
 */
import type { Random } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';

const PARALLEL_DIALS = 8;
const DIAL_DEADLINE_MS = 3_000;
const FIRST_BACK_OFF_MS = 500;
const MAX_BACK_OFF_MS = 30_000;
/** More than this many peers waiting to be dialled are not remembered. */
const MAX_QUEUED = 1024;
const REMEMBERED_FAILURES = 4096;

interface Failure {
  count: number;
  notBeforeMs: number;
}

export interface DialerDependencies {
  /** Resolves when connected, HELLO or not. */
  connect: (peer: PeerRecord, signal: AbortSignal) => Promise<void>;
  /** Whether this peer should be dialled now: not itself, not connected, and there is room. */
  wanted: (peerId: string) => boolean;
  clock: () => number;
  random: Random;
  logger: Logger;
}

export class Dialer {
  readonly #dependencies: DialerDependencies;
  readonly #queue = new Map<string, PeerRecord>();
  readonly #dialing = new Set<string>();
  readonly #failures = new LRUCache<string, Failure>({ max: REMEMBERED_FAILURES });
  readonly #stopped = new AbortController();

  constructor(dependencies: DialerDependencies) {
    this.#dependencies = dependencies;
  }

  dial(peers: readonly PeerRecord[]): void {
    for (const peer of peers) {
      if (this.#queue.size >= MAX_QUEUED) break;
      if (this.#may(peer.peerId)) this.#queue.set(peer.peerId, peer);
    }
    this.#fill();
  }

  /** The peer proved to be a member: its failures are forgotten. */
  succeeded(peerId: string): void {
    this.#failures.delete(peerId);
  }

  /** Dialling, or greeting after it, did not work. */
  failed(peerId: string): void {
    const { clock, random } = this.#dependencies;
    const count = (this.#failures.get(peerId)?.count ?? 0) + 1;
    const fullMs = Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (count - 1));
    this.#failures.set(peerId, { count, notBeforeMs: clock() + fullMs * (0.5 + random() / 2) });
  }

  stop(): void {
    this.#queue.clear();
    this.#stopped.abort();
  }

  #may(peerId: string): boolean {
    const { clock, wanted } = this.#dependencies;
    const notBeforeMs = this.#failures.get(peerId)?.notBeforeMs ?? 0;
    return !this.#stopped.signal.aborted && !this.#dialing.has(peerId) && clock() >= notBeforeMs && wanted(peerId);
  }

  #fill(): void {
    for (const [peerId, peer] of this.#queue) {
      if (this.#dialing.size >= PARALLEL_DIALS) return;
      this.#queue.delete(peerId);
      if (this.#may(peerId)) void this.#connect(peer);
    }
  }

  async #connect(peer: PeerRecord): Promise<void> {
    const { peerId } = peer;
    this.#dialing.add(peerId);
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_DEADLINE_MS)]);
    try {
      await this.#dependencies.connect(peer, signal);
    } catch (error) {
      this.failed(peerId);
      this.#dependencies.logger.debug({ err: error, peer: peerId, addresses: peer.addresses }, 'peer not reached');
    } finally {
      this.#dialing.delete(peerId);
      this.#fill();
    }
  }
}
