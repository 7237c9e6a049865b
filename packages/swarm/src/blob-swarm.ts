/**
 * How one agent gets one blob: a state machine over events and the time, without I/O.
 *
 * Pieces come from two kinds of source, and each piece is under way from one place at a time (from two in need):
 *
 *   peers   whoever of our zone holds a missing piece may be asked for it; members of other zones only for the pieces of a
 *           `zone` lease, so that each piece enters a zone once. What a reader needs next goes first, then the rarest.
 *   origin  at most one run of consecutive pieces is read at a time, under an `origin` lease, so that in the whole
 *           cluster the origin reads each piece out once. Several agents read different runs in parallel.
 *
 * What keeps a pull alive:
 *   - a piece that a reader waits for and that does not come for `stallMs` is asked for elsewhere: from another peer,
 *     and from the origin under a lease asked for as `starved`;
 *   - when nothing is left to ask for, what is under way for long is asked of a second peer;
 *   - without a tracker the members that know each other share the runs out by rendezvous hashing;
 *   - an origin that fails is tried again after a growing pause, an origin that refuses is not;
 *   - nothing new for `giveUpMs` ends the pull.
 */

import { type Neighbour, Neighbours } from './neighbours.ts';
import { OriginSide } from './origin-side.ts';
import { PeerSearch } from './peer-search.ts';
import { ASKED, HERE, LEASED, PieceBoard, READY, UNCOVERED } from './piece-board.ts';
import type { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';
import { Readers, type Starving } from './readers.ts';
import { RequestWindow } from './request-window.ts';
import type { FetchFailure, SwarmAction, SwarmEvent } from './swarm-event.ts';
import type { BlobSwarmOptions } from './swarm-options.ts';

/** How many of the pieces that could be asked for are looked at to find the rarest. */
const RAREST_OF = 32;
/** The same for the pieces of one neighbour. */
const RAREST_OF_ONE = 6;
/** How many of the former are tried when the holders of the rarest have no slot free. */
const PICK_TRIES = 6;
/** With everything under way, a piece asked for longer ago than this many times the usual is asked for twice. */
const ENDGAME_FACTOR = 3;
const ENDGAME_MIN_MS = 200;
/** A reader has waited for too long when a piece has taken this many times the usual. */
const PATIENCE_FACTOR = 6;
const MAX_PATIENCE_MS = 10_000;
/** Nobody is patient when nothing has come in for this long. */
const PATIENT_FOR_MS = 8_000;
/** For each blob that goes first, so many times longer. */
const PATIENCE_BEHIND = 3;
/** Of who has everything: the unit of `patience`. */
export const MAX_PATIENCE = 1_000;
/** How long an origin that refused leaves peers to be found before the pull gives up. */
const REFUSED_GRACE_MS = 1_500;
const NOTHING: SwarmAction[] = [];

interface Asked {
  neighbour: Neighbour;
  atMs: number;
  second: { neighbour: Neighbour; atMs: number } | undefined;
}

export class BlobSwarm {
  readonly #options: BlobSwarmOptions;
  readonly #have: PieceMap;
  readonly #random: Random;
  readonly #neighbours: Neighbours;
  readonly #board: PieceBoard;
  readonly #readers = new Readers();
  readonly #origin: OriginSide;
  readonly #asked = new Map<number, Asked>();
  readonly #sample = new Int32Array(RAREST_OF);
  #inFlight = 0;
  readonly #window: RequestWindow;
  #progressAtMs: number;
  readonly #search: PeerSearch;
  /** Blobs that go first. */
  #behind = 0;
  #complete = false;
  #over = false;

  /** @param have the pieces here already; the swarm keeps a copy and adds to it as `piece` events come in */
  constructor(options: BlobSwarmOptions, have: PieceMap, random: Random, nowMs: number) {
    this.#options = options;
    this.#have = have.clone();
    this.#random = random;
    this.#neighbours = new Neighbours(options);
    this.#board = new PieceBoard(options.pieceCount);
    for (let index = 0; index < options.pieceCount; index++) if (have.has(index)) this.#board.set(index, HERE);
    this.#origin = new OriginSide(options, {
      have: this.#have,
      board: this.#board,
      neighbours: this.#neighbours,
      random,
      refresh: (from, to) => this.#refreshAll(from, to),
      startedAtMs: nowMs,
    });
    this.#window = new RequestWindow(options.maxInFlight);
    this.#progressAtMs = nowMs;
    this.#search = new PeerSearch(nowMs + options.listenMs, random);
  }

  /** The time of the last sign of life from any source. */
  get progressAtMs(): number {
    return this.#progressAtMs;
  }

  /** Neighbours that hold or want the blob. */
  get neighbourCount(): number {
    return this.#neighbours.size;
  }

  /** Whether peers are asked, or could be asked, for something that is missing. */
  peersHelp(nowMs: number): boolean {
    return this.#asked.size > 0 || this.#somebodyOffers(nowMs);
  }

  /** How far a lease has come: the first piece that is not here, and how many are. Undefined when it is not held. */
  leaseProgress(leaseId: string): { next: number; held: number } | undefined {
    return this.#origin.leaseProgress(leaseId);
  }

  handle(event: SwarmEvent, nowMs: number): SwarmAction[] {
    if (this.#over) return NOTHING;
    const actions: SwarmAction[] = [];
    const wasFull = this.#inFlight >= this.#window.size;
    this.#take(event, nowMs, actions);
    if (this.#have.complete) {
      this.#finish(nowMs, actions);
    } else if (event.type === 'tick') {
      this.#lookAfterEverything(nowMs, actions);
    } else {
      if (event.type !== 'peer-have') this.#origin.decide(undefined, nowMs, actions);
      if (wasFull || this.#neighbours.restEnded(nowMs)) this.#askPeers(nowMs, actions);
      else this.#askWhatChanged(event, nowMs, actions);
    }
    return actions;
  }

  #take(event: SwarmEvent, nowMs: number, actions: SwarmAction[]): void {
    switch (event.type) {
      case 'peer-wants':
        this.#neighbours.meet(event.peer, event.zone);
        return;
      case 'peer-map':
        this.#neighbours.setMap(this.#neighbours.meet(event.peer, event.zone), event.pieces);
        this.#refreshAll(0, this.#options.pieceCount);
        this.#origin.peersMoved(nowMs);
        return;
      case 'peer-have':
        this.#peerHas(event.peer, event.indexes, nowMs);
        return;
      case 'peer-gone':
        this.#peerGone(event.peer, nowMs, actions);
        return;
      case 'piece':
        this.#pieceArrived(event.index, event.from, nowMs, actions);
        return;
      case 'pieces-lost':
        for (const index of event.indexes) {
          this.#origin.pieceLost(index);
          this.#lose(index);
        }
        this.#complete = false;
        // An audit may have taken long; from here on there is something to be got again.
        this.#progressAtMs = nowMs;
        return;
      case 'fetch-failed':
        this.#fetchFailed(event.peer, event.index, event.why, event.retryAfterMs ?? 0, nowMs);
        return;
      case 'reader':
        this.#readers.set(event.reader, event.index, nowMs);
        return;
      case 'reader-gone':
        this.#readers.delete(event.reader);
        return;
      case 'origin-bytes':
        this.#progressAtMs = nowMs;
        return;
      case 'tick':
        this.#behind = event.behind ?? 0;
        return;
      default:
        this.#origin.take(event, nowMs, actions);
    }
  }

  // What neighbours have.

  #peerHas(id: string, indexes: readonly number[], nowMs: number): void {
    const neighbour = this.#neighbours.get(id);
    if (neighbour === undefined) return;
    for (let at = 0; at < indexes.length; at++) {
      const index = indexes[at] as number;
      if (!this.#neighbours.add(neighbour, index)) continue;
      if (this.#board.is(index, UNCOVERED) || this.#board.is(index, LEASED)) this.#refresh(index);
    }
    this.#origin.peersMoved(nowMs);
  }

  #peerGone(id: string, nowMs: number, actions: SwarmAction[]): void {
    const neighbour = this.#neighbours.get(id);
    if (neighbour === undefined) return;
    if (neighbour.inFlight > 0) this.#neighbours.fail(neighbour, nowMs);
    for (const [index, asked] of this.#asked) {
      if (asked.neighbour !== neighbour && asked.second?.neighbour !== neighbour) continue;
      actions.push({ type: 'cancel', peer: id, index });
      this.#notAskedOf(neighbour, index, asked);
    }
    this.#neighbours.remove(neighbour);
    this.#refreshAll(0, this.#options.pieceCount);
  }

  #fetchFailed(id: string, index: number, why: FetchFailure, retryAfterMs: number, nowMs: number): void {
    const neighbour = this.#neighbours.get(id);
    const asked = this.#asked.get(index);
    if (neighbour === undefined || asked === undefined) return;
    if (!this.#notAskedOf(neighbour, index, asked)) return;
    if (why === 'busy' || why === 'not-held') neighbour.heardAtMs = nowMs;
    if (why === 'busy') this.#neighbours.rest(neighbour, nowMs + retryAfterMs);
    else if (why === 'not-held') this.#neighbours.notHeld(neighbour, index);
    else if (why === 'corrupt') this.#neighbours.bar(neighbour);
    else if (why === 'gone') this.#neighbours.fail(neighbour, nowMs);
    else if (why === 'slow') this.#neighbours.slow(neighbour, nowMs);
    if (why === 'slow') this.#window.failed();
    if (why === 'gone') this.#neighbours.remove(neighbour);
    if (why === 'corrupt' || why === 'gone' || why === 'slow') this.#refreshAll(0, this.#options.pieceCount);
    else this.#refresh(index);
  }

  /** Returns false when that peer was not asked for the piece. */
  #notAskedOf(neighbour: Neighbour, index: number, asked: Asked): boolean {
    if (asked.second?.neighbour === neighbour) {
      asked.second = undefined;
    } else if (asked.neighbour !== neighbour) {
      return false;
    } else if (asked.second !== undefined) {
      asked.neighbour = asked.second.neighbour;
      asked.atMs = asked.second.atMs;
      asked.second = undefined;
    } else {
      this.#asked.delete(index);
    }
    this.#inFlight--;
    neighbour.inFlight--;
    return true;
  }

  // What is here.

  #pieceArrived(index: number, from: string, nowMs: number, actions: SwarmAction[]): void {
    this.#progressAtMs = nowMs;
    this.#have.add(index);
    const asked = this.#asked.get(index);
    if (asked !== undefined) {
      this.#asked.delete(index);
      this.#settle(index, asked.neighbour, asked.atMs, from, nowMs, actions);
      if (asked.second !== undefined) {
        this.#settle(index, asked.second.neighbour, asked.second.atMs, from, nowMs, actions);
      }
    }
    this.#board.set(index, HERE);
    this.#origin.pieceArrived(index, from === 'origin', nowMs, actions);
  }

  #settle(
    index: number,
    neighbour: Neighbour,
    atMs: number,
    from: string,
    nowMs: number,
    actions: SwarmAction[],
  ): void {
    this.#inFlight--;
    neighbour.inFlight--;
    if (neighbour.id !== from) {
      actions.push({ type: 'cancel', peer: neighbour.id, index });
      return;
    }
    this.#window.came(nowMs - atMs);
    if (this.#neighbours.delivered(neighbour, nowMs - atMs, nowMs)) this.#refreshAll(0, this.#options.pieceCount);
  }

  #lose(index: number): void {
    if (!this.#have.has(index)) return;
    this.#have.remove(index);
    this.#refresh(index, true);
  }

  #refreshAll(from: number, to: number): void {
    for (let index = from; index < to; index++) this.#refresh(index);
  }

  /** Puts the piece where it belongs now. A piece that is here stays so unless it was `lost`. */
  #refresh(index: number, lost = false): void {
    if (this.#board.is(index, HERE) && !lost) return;
    if (this.#asked.has(index)) this.#board.set(index, ASKED);
    else if (this.#origin.reads(index)) this.#board.set(index, LEASED);
    else if (this.#neighbours.nearCopies(index) > 0) this.#board.set(index, READY);
    else if (this.#neighbours.farCopies(index) > 0 && this.#mayCross(index)) this.#board.set(index, READY);
    else if (this.#origin.carries(index)) this.#board.set(index, LEASED);
    else this.#board.set(index, UNCOVERED);
  }

  /** Whether the piece may be fetched from another zone. */
  #mayCross(index: number): boolean {
    return this.#origin.carries(index) || this.#origin.withoutTracker;
  }

  // Decisions.

  #lookAfterEverything(nowMs: number, actions: SwarmAction[]): void {
    if (this.#shouldGiveUp(nowMs, actions)) return;
    if (this.#neighbours.endRests(nowMs)) this.#refreshAll(0, this.#options.pieceCount);
    this.#readers.noteOffers((index) => this.#neighbours.copies(index) > 0, nowMs);
    const starving = this.#readers.starving(this.#have, this.#options.stallMs, nowMs);
    if (starving !== undefined) this.#askElsewhere(starving.reader.index, nowMs, actions);
    this.#origin.decide(starving && this.#isComing(starving, nowMs) ? undefined : starving, nowMs, actions);
    this.#askPeers(nowMs, actions);
    this.#endgame(nowMs, actions);
    const search = {
      progressAtMs: this.#progressAtMs,
      neighbours: this.#neighbours.size,
      crowd: () => this.#origin.crowd(),
      anythingUncovered: () => this.#board.count(UNCOVERED) > 0,
    };
    if (this.#search.isDue(search, nowMs)) actions.push({ type: 'find-peers' });
  }

  /** Whether peers have offered the piece for so short a time only that it may yet come from them. */
  #isComing({ reader, overdueMs }: Starving, nowMs: number): boolean {
    // Who gets nothing at all is not merely behind others.
    if (nowMs - this.#progressAtMs >= PATIENT_FOR_MS) return false;
    const times = 1 + PATIENCE_BEHIND * this.#behind;
    if (overdueMs >= MAX_PATIENCE_MS * times || reader.offeredAtMs === undefined) return false;
    const patienceMs = Math.max(this.#options.stallMs, PATIENCE_FACTOR * this.#window.pieceMs);
    return nowMs - reader.offeredAtMs < patienceMs * times;
  }

  #finish(nowMs: number, actions: SwarmAction[]): void {
    if (this.#complete) return;
    this.#complete = true;
    this.#origin.letGo('unneeded', nowMs, 0, actions);
    actions.push({ type: 'complete' });
  }

  #shouldGiveUp(nowMs: number, actions: SwarmAction[]): boolean {
    const refusedAtMs = this.#origin.refusedAtMs;
    const refused =
      refusedAtMs !== undefined &&
      this.#asked.size === 0 &&
      nowMs >= Math.max(refusedAtMs, this.#progressAtMs) + REFUSED_GRACE_MS &&
      !this.#somebodyOffers(nowMs);
    const silent = nowMs >= this.#progressAtMs + this.#options.giveUpMs;
    if (!refused && !silent) return false;
    this.#over = true;
    this.#origin.letGo('unneeded', nowMs, 0, actions);
    for (const [index, { neighbour, second }] of this.#asked) {
      actions.push({ type: 'cancel', peer: neighbour.id, index });
      if (second !== undefined) actions.push({ type: 'cancel', peer: second.neighbour.id, index });
    }
    actions.push({ type: 'give-up', why: refused ? 'origin-refused' : 'no-progress' });
    return true;
  }

  #somebodyOffers(nowMs: number): boolean {
    for (let index = this.#have.firstMissing(); index < this.#have.count; index = this.#have.firstMissing(index + 1)) {
      if (this.#neighbours.offered(index, true, nowMs)) return true;
    }
    return false;
  }

  #askPeers(nowMs: number, actions: SwarmAction[]): void {
    const maxInFlight = this.#window.size;
    if (this.#inFlight >= maxInFlight || this.#board.count(READY) === 0) return;
    this.#readers.neededNext(this.#have, (index) => {
      if (this.#board.is(index, READY)) this.#tryFetch(index, nowMs, actions);
      return this.#inFlight >= maxInFlight;
    });
    while (this.#inFlight < maxInFlight && (this.#fetchRarest(nowMs, actions) || this.#fetchAnything(nowMs, actions)));
  }

  /**
   * Every event ends with all asked that can be asked. So unless requests were as many as may be, or some neighbour has
   * rested long enough, only what the event changed can be asked for now.
   */
  #askWhatChanged(event: SwarmEvent, nowMs: number, actions: SwarmAction[]): void {
    switch (event.type) {
      case 'peer-have':
        this.#askForNews(event.peer, event.indexes, nowMs, actions);
        return;
      case 'piece': {
        const neighbour = this.#neighbours.get(event.from);
        if (neighbour !== undefined) this.#askOf(neighbour, nowMs, actions);
        return;
      }
      case 'peer-wants':
      case 'reader':
      case 'origin-bytes':
        return;
      case 'fetch-failed':
        if (event.why !== 'busy') break;
        if (this.#board.is(event.index, READY)) this.#tryFetch(event.index, nowMs, actions);
        return;
    }
    this.#askPeers(nowMs, actions);
  }

  #askForNews(id: string, indexes: readonly number[], nowMs: number, actions: SwarmAction[]): void {
    const neighbour = this.#neighbours.get(id);
    if (neighbour === undefined || !this.#neighbours.hasSpare(neighbour, nowMs)) return;
    for (let at = 0; at < indexes.length; at++) {
      const index = indexes[at] as number;
      if (!this.#board.is(index, READY) || !(neighbour.sameZone || this.#mayCross(index))) continue;
      if (this.#inFlight >= this.#window.size || !this.#neighbours.hasSpare(neighbour, nowMs)) return;
      this.#ask(neighbour, index, nowMs, actions);
    }
  }

  /** Asks this neighbour for as much as it can take: what readers need next, then the rarest of a few. */
  #askOf(neighbour: Neighbour, nowMs: number, actions: SwarmAction[]): void {
    while (this.#inFlight < this.#window.size && this.#neighbours.hasSpare(neighbour, nowMs)) {
      const index = this.#soughtOf(neighbour);
      if (index === undefined || !(neighbour.sameZone || this.#mayCross(index))) return;
      this.#ask(neighbour, index, nowMs, actions);
    }
  }

  #soughtOf({ pieces }: Neighbour): number | undefined {
    const needed = this.#readers.neededNext(this.#have, (index) => this.#board.is(index, READY) && pieces.has(index));
    if (needed !== undefined) return needed;
    let best: number | undefined;
    let bestCopies = Number.POSITIVE_INFINITY;
    for (let look = 0; look < RAREST_OF_ONE; look++) {
      const index = this.#board.readyAmong(pieces, this.#random);
      if (index === undefined) return undefined;
      const copies = this.#neighbours.nearCopies(index);
      if (copies < bestCopies) [best, bestCopies] = [index, copies];
    }
    return best;
  }

  /** Looks at some of the ready pieces and asks for the one with the fewest copies whose holders have a slot free. */
  #fetchRarest(nowMs: number, actions: SwarmAction[]): boolean {
    const sample = this.#sample;
    let count = this.#board.sampleReady(sample, this.#random);
    for (let tries = 0; tries < PICK_TRIES && count > 0; tries++) {
      let best = 0;
      let bestCopies = Number.POSITIVE_INFINITY;
      for (let at = 0; at < count; at++) {
        const index = sample[at] as number;
        const copies = this.#neighbours.nearCopies(index) || this.#neighbours.farCopies(index);
        if (copies < bestCopies) [best, bestCopies] = [at, copies];
      }
      if (this.#tryFetch(sample[best] as number, nowMs, actions)) return true;
      sample[best] = sample[--count] as number;
    }
    return false;
  }

  /** The rarest pieces' holders are all busy: whoever is not may have something else that is missing. */
  #fetchAnything(nowMs: number, actions: SwarmAction[]): boolean {
    for (const neighbour of this.#neighbours.withSpare(nowMs, this.#random)) {
      const index = this.#board.readyAmong(neighbour.pieces, this.#random);
      if (index !== undefined && (neighbour.sameZone || this.#mayCross(index))) {
        this.#ask(neighbour, index, nowMs, actions);
        return true;
      }
    }
    return false;
  }

  #tryFetch(index: number, nowMs: number, actions: SwarmAction[]): boolean {
    const neighbour = this.#neighbours.choose(index, this.#mayCross(index), nowMs, this.#random);
    if (neighbour === undefined) return false;
    this.#ask(neighbour, index, nowMs, actions);
    return true;
  }

  #ask(neighbour: Neighbour, index: number, nowMs: number, actions: SwarmAction[]): void {
    this.#asked.set(index, { neighbour, atMs: nowMs, second: undefined });
    this.#board.set(index, ASKED);
    this.#charge(neighbour, index, actions);
  }

  #charge(neighbour: Neighbour, index: number, actions: SwarmAction[]): void {
    this.#inFlight++;
    neighbour.inFlight++;
    const { deadlineMs } = this.#window;
    actions.push({ type: 'fetch', peer: neighbour.id, index, patience: this.#patienceFor(index), deadlineMs });
  }

  #patienceFor(index: number): number {
    if (this.#readers.waitFor(index)) return 0;
    return Math.max(1, Math.floor((MAX_PATIENCE * this.#have.held) / this.#options.pieceCount));
  }

  /** A reader waits for this piece in vain: ask somebody else for it too, of whatever zone, as one more than may be. */
  #askElsewhere(index: number, nowMs: number, actions: SwarmAction[]): void {
    if (this.#inFlight > this.#options.maxInFlight) return;
    const asked = this.#asked.get(index);
    if (asked !== undefined) {
      this.#askSecond(index, asked, true, nowMs, actions);
    } else if (this.#neighbours.copies(index) > 0) {
      const neighbour = this.#neighbours.choose(index, true, nowMs, this.#random);
      if (neighbour !== undefined) this.#ask(neighbour, index, nowMs, actions);
    }
  }

  /** When every missing piece is under way, those that take long are asked of a second peer. */
  #endgame(nowMs: number, actions: SwarmAction[]): void {
    if (this.#board.count(READY) + this.#board.count(UNCOVERED) + this.#board.count(LEASED) > 0) return;
    for (const [index, asked] of this.#asked) {
      if (this.#inFlight >= this.#options.maxInFlight) return;
      const usualMs = Math.max(ENDGAME_MIN_MS, ENDGAME_FACTOR * asked.neighbour.pieceMs);
      if (nowMs - asked.atMs >= usualMs) this.#askSecond(index, asked, this.#mayCross(index), nowMs, actions);
    }
  }

  #askSecond(index: number, asked: Asked, farToo: boolean, nowMs: number, actions: SwarmAction[]): void {
    if (asked.second !== undefined) return;
    const neighbour = this.#neighbours.choose(index, farToo, nowMs, this.#random, asked.neighbour);
    if (neighbour === undefined) return;
    asked.second = { neighbour, atMs: nowMs };
    this.#charge(neighbour, index, actions);
  }
}
