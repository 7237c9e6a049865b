/**
 * How one agent gets one blob: a state machine over events and the time, without I/O.
 *
 * Pieces come from two kinds of source, and each piece has at most one owner at a time (two in need):
 *
 *   peers   whoever holds a missing piece is asked for it, within a budget of pieces in flight
 *   origin  at most one run of consecutive pieces is read at a time, and only under a lease, so that in the whole cluster
 *           the origin is read once. A run covers pieces that no peer offers; it is cut where a peer begins to.
 *
 * What keeps a pull alive:
 *   - a piece that a reader waits for and that does not come for `stallMs` is asked for elsewhere: from another peer,
 *     or from the origin under a lease asked for as `starved`;
 *   - without a tracker the agent grants itself the lease, after a moment in which connected peers may speak up;
 *   - an origin that fails is tried again after a growing pause, an origin that refuses is not;
 *   - nothing arrives for `giveUpMs`, or the origin refused and nobody offers what is missing: the pull gives up.
 */
import { PeerTable } from './peer-table.ts';
import type { PieceMap } from './piece-map.ts';
import { pickPiece } from './piece-picker.ts';
import type { Random } from './random.ts';
import type { FetchFailure, SwarmAction, SwarmEvent } from './swarm-event.ts';

export interface BlobSwarmOptions {
  pieceCount: number;
  zone: string;
  /** Pieces asked of peers at the same time, over all peers: the memory budget divided by the piece size. */
  maxInFlight: number;
  /** Of these, at most this many of one peer. */
  slotsPerPeer: number;
  /** How long a reader waits for one piece before it is asked for elsewhere. */
  stallMs: number;
  /** Nothing new for this long ends the pull. */
  giveUpMs: number;
  /** How long peers that are connected may speak up before an agent without a tracker goes to the origin; 0 with no peer. */
  graceMs: number;
  /** How long after a peer got a piece that we lack it counts as being on the way to the next ones. */
  followMs: number;
}

export const DEFAULT_SWARM_OPTIONS: Omit<BlobSwarmOptions, 'pieceCount' | 'zone' | 'maxInFlight'> = {
  slotsPerPeer: 4,
  stallMs: 2_000,
  giveUpMs: 20_000,
  graceMs: 250,
  followMs: 500,
};

/** Pieces read from the origin on behalf of a starving reader, whatever peers claim to hold. */
const STARVED_RUN_PIECES = 8;
/** How long an origin that refused leaves peers to be found before the pull gives up. */
const REFUSED_GRACE_MS = 1_500;
const FIRST_ORIGIN_PAUSE_MS = 100;
const MAX_ORIGIN_PAUSE_MS = 4_000;
const FIND_PEERS_EVERY_MS = 1_000;

type Lease =
  | { state: 'none'; askAtMs: number }
  | { state: 'asked'; starved: boolean }
  /** `leaseId` is undefined when the agent granted it to itself. */
  | { state: 'held'; leaseId: string | undefined; starved: boolean };

interface Reader {
  index: number;
  sinceMs: number;
}

export class BlobSwarm {
  readonly #options: BlobSwarmOptions;
  readonly #have: PieceMap;
  readonly #random: Random;
  readonly #peers: PeerTable;
  readonly #readers = new Map<number, Reader>();
  /** Peers asked for each piece under way. */
  readonly #asked = new Map<number, Set<string>>();
  #inFlight = 0;
  #lease: Lease;
  /** The run being read from the origin: `next` is the piece it is at. */
  #run: { next: number; to: number; starved: boolean } | undefined;
  #originPauses = 0;
  #originRefusedAtMs: number | undefined;
  readonly #startedAtMs: number;
  #progressAtMs: number;
  #findPeersAtMs: number;
  /** When a peer last got a piece that we lack: it has a source of its own. */
  #aheadAtMs = Number.NEGATIVE_INFINITY;
  #over = false;

  /** @param have the pieces here already; the swarm adds to it as `piece` events come in */
  constructor(options: BlobSwarmOptions, have: PieceMap, random: Random, nowMs: number) {
    this.#options = options;
    this.#have = have.clone();
    this.#random = random;
    this.#peers = new PeerTable(options);
    this.#lease = { state: 'none', askAtMs: nowMs };
    this.#startedAtMs = nowMs;
    this.#progressAtMs = nowMs;
    this.#findPeersAtMs = nowMs + FIND_PEERS_EVERY_MS;
  }

  /** The time of the last sign of life from any source. */
  get progressAtMs(): number {
    return this.#progressAtMs;
  }

  /** Whether peers are asked, or could be asked, for something that is missing. */
  peersHelp(nowMs: number): boolean {
    return this.#asked.size > 0 || this.#somebodyOffers(nowMs);
  }

  handle(event: SwarmEvent, nowMs: number): SwarmAction[] {
    if (this.#over) return [];
    const actions: SwarmAction[] = [];
    this.#take(event, nowMs, actions);
    if (this.#have.complete) this.#finish(actions);
    else this.#decide(nowMs, actions);
    return actions;
  }

  #take(event: SwarmEvent, nowMs: number, actions: SwarmAction[]): void {
    switch (event.type) {
      case 'peer-map':
        this.#peers.setMap(event.peer, event.zone, event.pieces);
        if (event.pieces.held > 0 && !event.pieces.complete) this.#noteAhead(event.pieces.firstMissing() - 1, nowMs);
        return;
      case 'peer-have':
        this.#peers.add(event.peer, event.index);
        this.#noteAhead(event.index, nowMs);
        return;
      case 'peer-gone':
        this.#peers.remove(event.peer);
        return;
      case 'piece':
        this.#pieceArrived(event.index, event.from, nowMs, actions);
        return;
      case 'fetch-failed':
        this.#fetchFailed(event.peer, event.index, event.why, event.retryAfterMs ?? 0, nowMs);
        return;
      case 'reader':
        if (this.#readers.get(event.reader)?.index !== event.index) {
          this.#readers.set(event.reader, { index: event.index, sinceMs: nowMs });
        }
        return;
      case 'reader-gone':
        this.#readers.delete(event.reader);
        return;
      case 'lease-granted':
        this.#lease = { state: 'held', leaseId: event.leaseId, starved: this.#askedStarved() };
        return;
      case 'lease-lost':
        this.#lease = { state: 'none', askAtMs: nowMs + this.#options.graceMs };
        return;
      case 'lease-refused':
        this.#lease = { state: 'none', askAtMs: nowMs + event.retryAfterMs };
        return;
      case 'lease-unavailable':
        this.#grantOneself(nowMs);
        return;
      case 'origin-bytes':
        this.#progressAtMs = nowMs;
        return;
      case 'origin-ended':
        this.#originEnded(event.how, event.retryAfterMs, nowMs, actions);
        return;
      case 'tick':
        return;
    }
  }

  #pieceArrived(index: number, from: string, nowMs: number, actions: SwarmAction[]): void {
    this.#progressAtMs = nowMs;
    this.#originPauses = from === 'origin' ? 0 : this.#originPauses;
    this.#have.add(index);
    for (const peer of this.#asked.get(index) ?? []) {
      this.#inFlight--;
      if (peer === from) {
        this.#peers.succeeded(peer);
      } else {
        this.#peers.cancelled(peer);
        actions.push({ type: 'cancel', peer, index });
      }
    }
    this.#asked.delete(index);
    const run = this.#run;
    if (run !== undefined && from === 'origin') run.next = Math.max(run.next, index + 1);
  }

  #noteAhead(index: number, nowMs: number): void {
    if (!this.#have.has(index)) this.#aheadAtMs = nowMs;
  }

  #fetchFailed(peer: string, index: number, why: FetchFailure, retryAfterMs: number, nowMs: number): void {
    const asked = this.#asked.get(index);
    if (asked?.delete(peer) !== true) return;
    this.#inFlight--;
    if (asked.size === 0) this.#asked.delete(index);
    if (why === 'busy') this.#peers.rest(peer, nowMs, retryAfterMs);
    else if (why === 'not-held') this.#peers.notHeld(peer, index);
    else if (why === 'corrupt') this.#peers.bar(peer);
    else if (why === 'cancelled') this.#peers.cancelled(peer);
    else if (why === 'gone') this.#peers.remove(peer);
    else this.#peers.slow(peer, nowMs);
  }

  #askedStarved(): boolean {
    return this.#lease.state === 'asked' && this.#lease.starved;
  }

  #grantOneself(nowMs: number): void {
    const graceEndsMs = this.#startedAtMs + this.#options.graceMs;
    this.#lease =
      nowMs < graceEndsMs
        ? { state: 'none', askAtMs: graceEndsMs }
        : { state: 'held', leaseId: undefined, starved: this.#askedStarved() };
  }

  #originEnded(
    how: 'done' | 'failed' | 'refused',
    retryAfterMs: number | undefined,
    nowMs: number,
    actions: SwarmAction[],
  ): void {
    this.#run = undefined;
    if (how === 'done') return;
    if (how === 'refused') {
      this.#originRefusedAtMs = nowMs;
      this.#letGo(nowMs, Number.POSITIVE_INFINITY, actions);
      return;
    }
    const pauseMs = Math.min(MAX_ORIGIN_PAUSE_MS, FIRST_ORIGIN_PAUSE_MS * 2 ** this.#originPauses);
    this.#originPauses++;
    this.#letGo(nowMs, Math.min(retryAfterMs ?? pauseMs, this.#options.giveUpMs), actions);
  }

  /** Gives the lease back unfinished, so that somebody else can try. */
  #letGo(nowMs: number, askAgainMs: number, actions: SwarmAction[]): void {
    if (this.#lease.state === 'held' && this.#lease.leaseId !== undefined) {
      actions.push({ type: 'release-lease', leaseId: this.#lease.leaseId, done: false });
    }
    this.#lease = { state: 'none', askAtMs: nowMs + askAgainMs };
  }

  #finish(actions: SwarmAction[]): void {
    this.#over = true;
    if (this.#run !== undefined) actions.push({ type: 'stop-origin' });
    if (this.#lease.state === 'held' && this.#lease.leaseId !== undefined) {
      actions.push({ type: 'release-lease', leaseId: this.#lease.leaseId, done: true });
    }
    actions.push({ type: 'complete' });
  }

  #decide(nowMs: number, actions: SwarmAction[]): void {
    if (this.#shouldGiveUp(nowMs, actions)) return;
    const starving = this.#starvingPiece(nowMs);
    this.#cutRun(nowMs, actions);
    this.#useOrigin(starving, nowMs, actions);
    this.#usePeers(starving, nowMs, actions);
    if (nowMs >= this.#findPeersAtMs && !this.#everythingUnderWay(nowMs)) {
      this.#findPeersAtMs = nowMs + FIND_PEERS_EVERY_MS;
      actions.push({ type: 'find-peers' });
    }
  }

  #shouldGiveUp(nowMs: number, actions: SwarmAction[]): boolean {
    const refused =
      this.#originRefusedAtMs !== undefined &&
      this.#asked.size === 0 &&
      nowMs >= Math.max(this.#originRefusedAtMs, this.#progressAtMs) + REFUSED_GRACE_MS &&
      !this.#somebodyOffers(nowMs);
    const silent = nowMs >= this.#progressAtMs + this.#options.giveUpMs;
    if (!refused && !silent) return false;
    this.#over = true;
    if (this.#run !== undefined) actions.push({ type: 'stop-origin' });
    this.#letGo(nowMs, 0, actions);
    for (const [index, peers] of this.#asked) for (const peer of peers) actions.push({ type: 'cancel', peer, index });
    actions.push({ type: 'give-up', why: refused ? 'origin-refused' : 'no-progress' });
    return true;
  }

  #somebodyOffers(nowMs: number): boolean {
    for (let index = this.#have.firstMissing(); index < this.#have.count; index = this.#have.firstMissing(index + 1)) {
      if (this.#peers.offered(index, nowMs)) return true;
    }
    return false;
  }

  #everythingUnderWay(nowMs: number): boolean {
    for (let index = this.#have.firstMissing(); index < this.#have.count; index = this.#have.firstMissing(index + 1)) {
      if (!this.#asked.has(index) && !this.#inRun(index) && !this.#peers.offered(index, nowMs)) return false;
    }
    return true;
  }

  /** The piece some reader has waited for too long, if any. */
  #starvingPiece(nowMs: number): number | undefined {
    for (const reader of this.#readers.values()) {
      if (nowMs - reader.sinceMs < this.#options.stallMs || this.#have.has(reader.index)) continue;
      return reader.index;
    }
    return undefined;
  }

  /** A run ends where its next piece is here already or offered by a peer, unless a reader starved on that offer. */
  #cutRun(nowMs: number, actions: SwarmAction[]): void {
    const run = this.#run;
    if (run === undefined || run.next >= run.to) return;
    if (this.#have.has(run.next) || (!run.starved && this.#peers.offered(run.next, nowMs))) {
      this.#run = undefined;
      actions.push({ type: 'stop-origin' });
    }
  }

  #useOrigin(starving: number | undefined, nowMs: number, actions: SwarmAction[]): void {
    if (this.#run !== undefined || this.#originRefusedAtMs !== undefined) return;
    const starved = starving !== undefined;
    const from = starved ? starving : this.#firstOffered(false, 0, nowMs);
    if (from >= this.#have.count) {
      this.#releaseIdleLease(nowMs, actions);
      return;
    }
    // Somebody else is reading the origin, and what is not offered yet will be: two readers would cut each other's runs.
    if (!starved && nowMs < this.#aheadAtMs + this.#options.followMs) return;
    if (this.#lease.state === 'none' && nowMs >= this.#lease.askAtMs) {
      this.#lease = { state: 'asked', starved };
      actions.push({ type: 'ask-lease', starved });
    } else if (this.#lease.state === 'held') {
      const to = starved
        ? Math.min(this.#nextHeld(from), from + STARVED_RUN_PIECES)
        : Math.min(this.#nextHeld(from), this.#firstOffered(true, from, nowMs));
      this.#run = { next: from, to, starved };
      for (let index = from; index < to; index++) this.#cancelPiece(index, actions);
      actions.push({ type: 'read-origin', from, to });
    }
  }

  /** A lease nobody needs any more goes back at once, so that the tracker counts right. */
  #releaseIdleLease(nowMs: number, actions: SwarmAction[]): void {
    if (this.#lease.state !== 'held') return;
    this.#letGo(nowMs, 0, actions);
  }

  /** The first missing piece from `from` on that is offered by a peer (or that is not, and not under way). */
  #firstOffered(offered: boolean, from: number, nowMs: number): number {
    let index = this.#have.firstMissing(from);
    while (index < this.#have.count) {
      const here = this.#peers.offered(index, nowMs) || (!offered && this.#asked.has(index));
      if (here === offered) break;
      index = this.#have.firstMissing(index + 1);
    }
    return index;
  }

  #nextHeld(from: number): number {
    let index = from;
    while (index < this.#have.count && !this.#have.has(index)) index++;
    return index;
  }

  #inRun(index: number): boolean {
    return this.#run !== undefined && index >= this.#run.next && index < this.#run.to;
  }

  #cancelPiece(index: number, actions: SwarmAction[]): void {
    for (const peer of this.#asked.get(index) ?? []) {
      this.#inFlight--;
      this.#peers.cancelled(peer);
      actions.push({ type: 'cancel', peer, index });
    }
    this.#asked.delete(index);
  }

  #usePeers(starving: number | undefined, nowMs: number, actions: SwarmAction[]): void {
    if (starving !== undefined && !this.#inRun(starving)) {
      const asked = this.#asked.get(starving);
      const other = asked?.size === 1 ? this.#peers.choose(starving, nowMs, this.#random, asked) : undefined;
      if (other !== undefined) this.#fetch(other, starving, actions);
    }
    const wanted = [...this.#readers.values()].map((reader) => this.#have.firstMissing(reader.index));
    const skip = (index: number): boolean => this.#asked.has(index) || this.#inRun(index);
    while (this.#inFlight < this.#options.maxInFlight && this.#peers.anySpare(nowMs)) {
      const pick = pickPiece(this.#have, this.#peers, wanted, skip, nowMs, this.#random);
      if (pick === undefined) return;
      this.#fetch(pick.peer, pick.index, actions);
    }
  }

  #fetch(peer: string, index: number, actions: SwarmAction[]): void {
    this.#peers.charge(peer);
    this.#inFlight++;
    const asked = this.#asked.get(index) ?? new Set();
    asked.add(peer);
    this.#asked.set(index, asked);
    actions.push({ type: 'fetch', peer, index });
  }
}
