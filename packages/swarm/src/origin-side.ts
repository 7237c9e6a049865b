/**
 * The part of a blob's swarm that deals with leases and with the run being read from the origin.
 *
 *   ask-lease ──► granted ──► read-origin, a sub-run of the lease that nobody offers ──► … ──► released
 *             ├─► refused: somebody else reads; ask again later
 *             └─► unavailable: no tracker; grant oneself what `without-tracker.ts` says
 */
import { type HeldLease, HeldLeases } from './held-leases.ts';
import type { Neighbours } from './neighbours.ts';
import { ASKED, LEASED, type PieceBoard, READY, UNCOVERED } from './piece-board.ts';
import type { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';
import type { Starving } from './readers.ts';
import type { OriginEnd, ReleaseHow, SwarmAction, SwarmEvent } from './swarm-event.ts';
import { ownRun } from './without-tracker.ts';

export interface OriginSideOptions {
  pieceCount: number;
  self: string;
  blob: string;
  maxInFlight: number;
  graceMs: number;
  listenMs: number;
  connected: number;
  clusterSize: number;
}

export interface OriginSideDependencies {
  have: PieceMap;
  board: PieceBoard;
  neighbours: Neighbours;
  random: Random;
  /** Looks again where the pieces [from, to) stand. */
  refresh: (from: number, to: number) => void;
  startedAtMs: number;
}

type LeaseEvent = Extract<
  SwarmEvent,
  {
    type:
      | 'lease-granted'
      | 'lease-changed'
      | 'lease-lost'
      | 'lease-refused'
      | 'lease-unavailable'
      | 'origin-ended'
      | 'origin-allowed';
  }
>;

/** How often a tracker that does not answer is asked. */
const ASK_AGAIN_MS = 250;
const MAX_AVOIDED = 8;
/** Of a crowd that begins at the same moment two agents ask for a lease in each millisecond. */
const FIRST_ASK_MS_EACH = 0.5;
const FIRST_ORIGIN_PAUSE_MS = 100;
const MAX_ORIGIN_PAUSE_MS = 4_000;
/** The next lease is asked for when this part of the run is left, so that the origin is not kept waiting. */
const ASK_NEXT_SHARE = 1 / 4;
/** An agent with this part of its requests to peers under way is busy with them; one that reads the origin, sooner. */
const BUSY_SHARE = 1 / 2;
const BUSY_READER_SHARE = 1 / 4;

export class OriginSide {
  readonly #options: OriginSideOptions;
  readonly #dependencies: OriginSideDependencies;
  readonly #leases = new HeldLeases();
  /** The run being read from the origin: `next` is the piece it is at. */
  #run: { lease: HeldLease; from: number; next: number; to: number } | undefined;
  #asking = false;
  #askedStarved = false;
  #askAtMs: number;
  /** Whether the moment of the first ask is settled. */
  #hasTurn = false;
  /** The origin failed: it is left alone until then. */
  #pauseUntilMs = Number.NEGATIVE_INFINITY;
  #pauses = 0;
  #refusedAtMs: number | undefined;
  #withoutTracker = false;
  /** The origin sends the whole body to a request for a range. */
  #rangeless = false;
  /** When a neighbour last got something. */
  #peersMovedAtMs: number;

  constructor(options: OriginSideOptions, dependencies: OriginSideDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#askAtMs = dependencies.startedAtMs + options.listenMs;
    this.#peersMovedAtMs = dependencies.startedAtMs;
  }

  get refusedAtMs(): number | undefined {
    return this.#refusedAtMs;
  }

  /** No tracker answered the last time it was asked. */
  get withoutTracker(): boolean {
    return this.#withoutTracker;
  }

  /** Whether this agent is to read the piece from the origin, so that no peer need be asked for it. */
  reads(index: number): boolean {
    const run = this.#run;
    if (run !== undefined && run.next <= index && index < run.to) return true;
    if (this.#leases.all.length === 0) return false;
    const lease = this.#leases.covering(index, 'origin');
    return lease !== undefined && (lease.starved || this.#dependencies.neighbours.nearCopies(index) === 0);
  }

  /** Whether this agent is to fetch the piece from another zone. */
  carries(index: number): boolean {
    return this.#leases.all.length > 0 && this.#leases.covering(index, 'zone') !== undefined;
  }

  leaseProgress(leaseId: string): { next: number; held: number } | undefined {
    const lease = this.#leases.byId(leaseId);
    if (lease === undefined) return undefined;
    let held = 0;
    for (let index = lease.from; index < lease.to; index++) if (this.#dependencies.have.has(index)) held++;
    return { next: lease.next, held };
  }

  /** About how many agents want the blob now, going by the part of the neighbours that do. 0 when none of them does. */
  crowd(): number {
    const { connected, clusterSize } = this.#options;
    let wanting = 0;
    for (const { pieces } of this.#dependencies.neighbours.all) if (!pieces.complete) wanting++;
    return clusterSize * Math.min(1, wanting / Math.max(1, connected));
  }

  peersMoved(nowMs: number): void {
    this.#peersMovedAtMs = nowMs;
  }

  take(event: LeaseEvent, nowMs: number, actions: SwarmAction[]): void {
    switch (event.type) {
      case 'lease-granted': {
        const { leaseId: id, source, from, to } = event;
        this.#answered(nowMs);
        if (source === 'origin' && (this.#refusedAtMs !== undefined || nowMs < this.#pauseUntilMs)) {
          // The origin failed while this was asked for.
          actions.push({ type: 'release-lease', leaseId: id, how: 'failed', next: from });
          return;
        }
        this.#hold({ id, source, from, to, next: from, starved: this.#askedStarved }, actions);
        return;
      }
      case 'lease-changed':
        this.#changed(event.leaseId, event.to, actions);
        return;
      case 'lease-lost': {
        const lease = this.#leases.byId(event.leaseId);
        if (lease !== undefined) this.#remove(lease);
        return;
      }
      case 'lease-refused':
        this.#answered(nowMs + event.retryAfterMs * (0.5 + this.#dependencies.random() / 2));
        return;
      case 'lease-unavailable':
        this.#asking = false;
        this.#askAtMs = nowMs + ASK_AGAIN_MS;
        if (!this.#withoutTracker) {
          this.#withoutTracker = true;
          this.#dependencies.refresh(0, this.#options.pieceCount);
        }
        return;
      case 'origin-allowed':
        this.#refusedAtMs = undefined;
        return;
      case 'origin-ended':
        if (event.ranged !== undefined) this.#rangeless = !event.ranged;
        this.#ended(event.how, event.retryAfterMs, nowMs, actions);
        return;
    }
  }

  pieceArrived(index: number, fromOrigin: boolean, nowMs: number, actions: SwarmAction[]): void {
    const run = this.#run;
    if (fromOrigin) {
      this.#pauses = 0;
      if (run !== undefined) run.next = Math.max(run.next, index + 1);
    }
    this.#peersMovedAtMs = nowMs;
    if (this.#leases.all.length === 0) return;
    for (const lease of this.#leases.advance(this.#dependencies.have)) this.#release(lease, 'done', actions);
  }

  /** @param starving the reader that has waited for too long */
  decide(starving: Starving | undefined, nowMs: number, actions: SwarmAction[]): void {
    this.#cutLostRun(nowMs, actions);
    if (this.#refusedAtMs !== undefined) return;
    if (this.#run === undefined) this.#startRun(actions);
    if (this.#withoutTracker && this.#run === undefined) this.#grantOneself(starving, nowMs, actions);
    if (this.#asking || nowMs < Math.max(this.#askAtMs, this.#pauseUntilMs)) return;
    if (!this.#hasTurn && this.#takeTurn(nowMs)) return;
    if (starving !== undefined && this.#readsSoon(starving.reader.index)) return;
    if (starving === undefined && !this.#wantsLease()) return;
    if (this.#leases.full(starving !== undefined)) return;
    this.#asking = true;
    this.#askedStarved = starving !== undefined;
    const piece = starving?.reader.index ?? this.#dependencies.board.first(UNCOVERED);
    const { neighbours } = this.#dependencies;
    const avoid = neighbours.barred.slice(0, MAX_AVOIDED);
    const silent = neighbours.silent(nowMs).slice(0, MAX_AVOIDED);
    const crowd = this.crowd();
    actions.push({ type: 'ask-lease', starved: starving !== undefined, piece, avoid, silent, crowd });
  }

  /** Gives every lease back and stops reading; asks again after `pauseMs`. */
  letGo(how: ReleaseHow, nowMs: number, pauseMs: number, actions: SwarmAction[]): void {
    if (this.#run !== undefined) {
      this.#run = undefined;
      actions.push({ type: 'stop-origin' });
    }
    for (const lease of [...this.#leases.all]) this.#release(lease, how, actions);
    this.#pauseUntilMs = nowMs + pauseMs;
  }

  pieceLost(index: number): void {
    this.#leases.lost(index);
  }

  #answered(askAtMs: number): void {
    this.#asking = false;
    this.#askAtMs = askAtMs;
    if (!this.#withoutTracker) return;
    this.#withoutTracker = false;
    this.#dependencies.refresh(0, this.#options.pieceCount);
  }

  #hold(lease: HeldLease, actions: SwarmAction[]): void {
    this.#leases.add(lease);
    this.#dependencies.refresh(lease.from, lease.to);
    for (const done of this.#leases.advance(this.#dependencies.have)) this.#release(done, 'done', actions);
  }

  #changed(leaseId: string, to: number, actions: SwarmAction[]): void {
    const lease = this.#leases.byId(leaseId);
    if (lease === undefined || to === lease.to) return;
    const end = Math.max(to, lease.to);
    const grown = to > lease.to;
    lease.to = Math.max(to, lease.next);
    const run = this.#run;
    if (run?.lease === lease && (grown || run.to > lease.to)) {
      run.to = lease.to;
      actions.push({ type: 'limit-origin', to: run.to });
    }
    this.#dependencies.refresh(lease.from, end);
    for (const done of this.#leases.advance(this.#dependencies.have)) this.#release(done, 'done', actions);
  }

  #remove(lease: HeldLease): void {
    this.#leases.remove(lease);
    this.#dependencies.refresh(lease.from, lease.to);
  }

  #release(lease: HeldLease, how: ReleaseHow, actions: SwarmAction[]): void {
    if (lease.id !== undefined) actions.push({ type: 'release-lease', leaseId: lease.id, how, next: lease.next });
    this.#remove(lease);
  }

  #ended(how: OriginEnd, retryAfterMs: number | undefined, nowMs: number, actions: SwarmAction[]): void {
    const run = this.#run;
    this.#run = undefined;
    if (run !== undefined) this.#dependencies.refresh(run.from, run.to);
    if (how === 'done') return;
    if (how === 'no-range') {
      this.letGo('no-range', nowMs, 0, actions);
    } else if (how === 'refused') {
      this.#refusedAtMs = nowMs;
      this.letGo('failed', nowMs, 0, actions);
    } else {
      const pauseMs = Math.min(MAX_ORIGIN_PAUSE_MS, FIRST_ORIGIN_PAUSE_MS * 2 ** this.#pauses);
      this.#pauses++;
      this.letGo('failed', nowMs, Math.max(pauseMs, retryAfterMs ?? 0), actions);
    }
  }

  /** A run whose lease went to somebody else ends where the next piece is here or offered. */
  #cutLostRun(nowMs: number, actions: SwarmAction[]): void {
    const run = this.#run;
    if (run === undefined || run.next >= run.to || this.#leases.all.includes(run.lease)) return;
    const { have, neighbours } = this.#dependencies;
    if (!have.has(run.next) && !neighbours.offered(run.next, false, nowMs)) return;
    this.#run = undefined;
    actions.push({ type: 'stop-origin' });
    this.#dependencies.refresh(run.from, run.to);
  }

  /** Begins with the first pieces of a lease that are missing, not under way, and offered by nobody (or in vain). */
  #startRun(actions: SwarmAction[]): void {
    const { board, have } = this.#dependencies;
    for (const lease of this.#leases.all) {
      if (lease.source !== 'origin') continue;
      let from = lease.next;
      while (from < lease.to && !this.#mayRead(lease, from)) from++;
      // What is left of it may be on its way from peers. Should it not come, it is still this agent's to read.
      if (from === lease.to) continue;
      const whole = lease.to === this.#options.pieceCount && (lease.from === 0 || lease.id === undefined);
      let to = from + 1;
      if (whole && this.#rangeless) to = lease.to;
      else while (to < lease.to && this.#mayRead(lease, to)) to++;
      this.#run = { lease, from, next: from, to };
      for (let index = from; index < to; index++) {
        if (!have.has(index) && !board.is(index, ASKED)) board.set(index, LEASED);
      }
      actions.push({ type: 'read-origin', from, to, whole });
      return;
    }
  }

  #mayRead(lease: HeldLease, index: number): boolean {
    if (this.#dependencies.have.has(index)) return false;
    return lease.starved || this.#dependencies.board.is(index, LEASED);
  }

  /**
   * Whether there is nothing better to do than to ask for a (further) lease. Who is busy fetching from peers leaves the
   * origin to those that are not: readers of the origin that took lease after lease would fall behind, and finish last.
   */
  #wantsLease(): boolean {
    const { board } = this.#dependencies;
    if (board.count(UNCOVERED) === 0) return false;
    const run = this.#run;
    const busy = this.#options.maxInFlight * (run === undefined ? BUSY_SHARE : BUSY_READER_SHARE);
    if (board.count(READY) > 0 && board.count(ASKED) > busy) return false;
    return run === undefined || run.to - run.next <= Math.max(1, (run.to - run.from) * ASK_NEXT_SHARE);
  }

  /**
   * In a crowd that begins at the same moment few have to ask: what these get spreads before it is the others' turn. Returns
   * whether it is not this agent's turn yet.
   */
  #takeTurn(nowMs: number): boolean {
    this.#hasTurn = true;
    this.#askAtMs = nowMs + this.#dependencies.random() * this.crowd() * FIRST_ASK_MS_EACH;
    return this.#askAtMs > nowMs;
  }

  #readsSoon(index: number): boolean {
    return this.#leases.covering(index, 'origin') !== undefined;
  }

  /** Without a tracker the agent decides by itself what is its to read. */
  #grantOneself(starving: Starving | undefined, nowMs: number, actions: SwarmAction[]): void {
    const { board, neighbours, random, startedAtMs } = this.#dependencies;
    const { pieceCount, self, blob, graceMs } = this.#options;
    if (nowMs < Math.max(startedAtMs + graceMs, this.#pauseUntilMs)) return;
    const quietMs = nowMs - this.#peersMovedAtMs;
    const rangeless = this.#rangeless;
    const own = ownRun({ board, neighbours, pieceCount, self, blob, random, rangeless }, { starving, quietMs });
    if (own === undefined) return;
    this.#hold({ id: undefined, source: 'origin', next: own.from, ...own }, actions);
    this.#startRun(actions);
  }
}
