/**
 * Whom to connect to for one blob. The tracker names many members; an agent that connected to all of them would have as
 * many connections as the cluster has agents. A dozen neighbours for each blob are enough to pass everything on.
 */
import type { PeerRecord } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { PeerNetwork } from '../peers/peer-network.ts';

const TARGET_NEIGHBOURS = 12;
/** What was dialled less long ago may still become a neighbour. */
const DIAL_TAKES_MS = 2_000;
const MAX_REMEMBERED = 1_024;
const UNREACHABLE_FOR_MS = 30_000;
/** Who has said nothing of the blob this long after it was first dialled will not help soon. */
const UNREACHABLE_AFTER_MS = 2_000;

export interface NeighbourhoodDependencies {
  network: Pick<PeerNetwork, 'dial' | 'connected' | 'peerId'>;
  /** Members found to be unreachable, shared by all blobs. */
  unreachable: UnreachableMembers;
  clock: () => number;
}

/** Members that should have had what was needed and said nothing. */
export class UnreachableMembers {
  readonly #members = new LRUCache<string, true>({ max: MAX_REMEMBERED, ttl: UNREACHABLE_FOR_MS });

  add(peerId: string): void {
    this.#members.set(peerId, true);
  }

  delete(peerId: string): void {
    this.#members.delete(peerId);
  }

  all(): string[] {
    return [...this.#members.keys()];
  }
}

export class Neighbourhood {
  readonly #dependencies: NeighbourhoodDependencies;
  /** When a member was last dialled for this blob, the longest ago first. */
  readonly #dialledAtMs = new Map<string, number>();
  /** Those connected that said what they hold. */
  readonly #heard = new Set<string>();
  /** Members that should have what is needed and said nothing yet: since when they are dialled. */
  readonly #sought = new Map<string, number>();

  constructor(dependencies: NeighbourhoodDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Dials as many of the members found as neighbours are missing, those first that were not dialled before.
   * @param known neighbours that hold or want the blob
   */
  meet(found: readonly PeerRecord[], known: number): void {
    const { network, clock } = this.#dependencies;
    const connected = new Set(network.connected().map(({ peerId }) => peerId));
    const others = found.filter(({ peerId }) => peerId !== network.peerId);
    const strangers = others.filter(({ peerId }) => !connected.has(peerId));
    const neighbours = Math.max(known, others.length - strangers.length);
    const nowMs = clock();
    let pending = 0;
    for (const [peerId, atMs] of this.#dialledAtMs) {
      if (nowMs - atMs < DIAL_TAKES_MS && !connected.has(peerId)) pending++;
    }
    const missing = TARGET_NEIGHBOURS - neighbours - pending;
    if (missing <= 0) return;
    const lastDial = ({ peerId }: PeerRecord): number => this.#dialledAtMs.get(peerId) ?? Number.NEGATIVE_INFINITY;
    const idle = strangers.filter((peer) => nowMs - lastDial(peer) >= DIAL_TAKES_MS);
    this.#dial(idle.sort((a, b) => (lastDial(a) === lastDial(b) ? 0 : lastDial(a) - lastDial(b))).slice(0, missing));
  }

  /** Dials members that have what is needed now, however many neighbours there are. */
  seek(peers: readonly PeerRecord[]): void {
    const sinceMs = this.#dependencies.clock();
    for (const { peerId } of peers) {
      if (!this.#heard.has(peerId) && !this.#sought.has(peerId)) this.#sought.set(peerId, sinceMs);
    }
    forgetFirst(this.#sought);
    this.#dial(peers);
  }

  /** A connected member said what it holds of the blob. */
  heard(peerId: string): void {
    this.#heard.add(peerId);
    this.#sought.delete(peerId);
    this.#dependencies.unreachable.delete(peerId);
  }

  gone(peerId: string): void {
    this.#heard.delete(peerId);
  }

  /**
   * Members that should have what is needed and from which nothing was heard. In a crowd they may only have no room, and
   * what they have comes from others: while pieces come in nobody is added to these.
   */
  unreachable(lastProgressAtMs: number): string[] {
    const { unreachable, clock } = this.#dependencies;
    const nowMs = clock();
    const stuck = nowMs - lastProgressAtMs >= UNREACHABLE_AFTER_MS;
    for (const [peerId, sinceMs] of this.#sought) {
      if (stuck && nowMs - sinceMs >= UNREACHABLE_AFTER_MS) unreachable.add(peerId);
    }
    return unreachable.all();
  }

  #dial(peers: readonly PeerRecord[]): void {
    if (peers.length === 0) return;
    const { network, clock } = this.#dependencies;
    const nowMs = clock();
    for (const { peerId } of peers) {
      this.#dialledAtMs.delete(peerId);
      this.#dialledAtMs.set(peerId, nowMs);
    }
    forgetFirst(this.#dialledAtMs);
    network.dial(peers);
  }
}

function forgetFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    if (map.size <= MAX_REMEMBERED) return;
    map.delete(key);
  }
}
