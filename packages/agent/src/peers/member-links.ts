/**
 * The one link that is used for each member, of those that are open: at most `maxConnections`, and of two connections of one pair the one
 * that both ends choose.
 *
 *   a link opens ─┬─ its member has none ── there is room, or the idlest link makes place ──► used
 *                 │                     └── else ──► closed
 *                 └─ its member has one ── one of the two goes on for a moment, unused, and is closed
 */
import type { PeerLink } from './peer-link.ts';

/** Two connections of one pair that started within this time are two simultaneous dials; later, the older one is dead. */
const SIMULTANEOUS_DIAL_MS = 10_000;
/** What is under way on a connection that lost against its twin may finish. */
const RETIRE_AFTER_MS = 5_000;
/** When there is no room, a link on which no piece passed for this long makes place for another peer. */
const IDLE_LINK_MS = 30_000;

export interface MemberLinksOptions {
  /** This agent's. */
  peerId: string;
  maxConnections: number;
}

export interface MemberLinksDependencies {
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** This link is used no more: another one of its member is, from now on. */
  onReplaced: (link: PeerLink) => void;
}

export class MemberLinks {
  readonly #options: MemberLinksOptions;
  readonly #dependencies: MemberLinksDependencies;
  readonly #used = new Map<string, PeerLink>();
  readonly #retiring = new Set<NodeJS.Timeout>();

  constructor(options: MemberLinksOptions, dependencies: MemberLinksDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  get size(): number {
    return this.#used.size;
  }

  of(peerId: string): PeerLink | undefined {
    return this.#used.get(peerId);
  }

  all(): PeerLink[] {
    return [...this.#used.values()];
  }

  isUsed(link: PeerLink): boolean {
    return this.#used.get(link.peerId) === link;
  }

  /** Whether one more member may connect. */
  get hasRoom(): boolean {
    return this.#used.size < this.#options.maxConnections || this.#idlest() !== undefined;
  }

  /** A link is open from now on. @returns whether it is the one to use; else it is closed, now or soon */
  admit(link: PeerLink): boolean {
    const other = this.#used.get(link.peerId);
    if (other === undefined && this.#used.size >= this.#options.maxConnections) {
      const idlest = this.#idlest();
      if (idlest === undefined) {
        link.close(new Error('enough peers'));
        return false;
      }
      idlest.close(new Error('place for a peer that may be of more use'));
    }
    if (other !== undefined) {
      const loser = this.#loserOf(other, link);
      this.#retire(loser);
      if (loser === link) return false;
      this.#dependencies.onReplaced(other);
    }
    this.#used.set(link.peerId, link);
    return true;
  }

  /** A link is closed. @returns whether it was in use */
  remove(link: PeerLink): boolean {
    return this.isUsed(link) && this.#used.delete(link.peerId);
  }

  stop(): void {
    for (const timer of this.#retiring) clearTimeout(timer);
    this.#retiring.clear();
  }

  /** The member with which nothing was traded for the longest time, if that is long. */
  #idlest(): PeerLink | undefined {
    let idlest: PeerLink | undefined;
    for (const link of this.#used.values()) {
      if (idlest === undefined || link.tradedAtMs < idlest.tradedAtMs) idlest = link;
    }
    const sinceMs = this.#dependencies.clock() - IDLE_LINK_MS;
    return idlest !== undefined && idlest.tradedAtMs <= sinceMs ? idlest : undefined;
  }

  /**
   * Of two links to one peer, the one to give up. Both ends must choose alike: of two dials that crossed, the one by the
   * smaller PeerId stays; else the newer, as nobody dials a peer it is connected to.
   */
  #loserOf(older: PeerLink, newer: PeerLink): PeerLink {
    const crossed =
      older.dialedByUs !== newer.dialedByUs && newer.startedAtMs - older.startedAtMs < SIMULTANEOUS_DIAL_MS;
    if (!crossed) return older;
    const ourDialStays = this.#options.peerId < newer.peerId;
    return newer.dialedByUs === ourDialStays ? older : newer;
  }

  #retire(link: PeerLink): void {
    const timer = setTimeout(() => {
      this.#retiring.delete(timer);
      link.close(new Error('another connection to this peer is used'));
    }, RETIRE_AFTER_MS);
    timer.unref();
    this.#retiring.add(timer);
  }
}
