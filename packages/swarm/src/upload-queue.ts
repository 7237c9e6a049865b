/**
 * Whose piece leaves next. A few pieces are sent at once and a few requests wait; of those that wait goes first
 *
 *   1. a piece that this agent has not sent to anybody yet: what leaves here for the first time others can pass on
 *   2. the one with the least patience: whose reader waits for it, then who holds the least of its blob. So streams flow,
 *      newcomers get something to trade with, and nobody is left behind
 *
 * When the queue is full, the last by that order is told to go elsewhere. One peer has at most its share of slots and queue:
 * whoever takes its pieces slowly holds up only itself.
 */
const DEFAULT_WAIT_MS = 500;
/** Pieces remembered as sent. */
const MAX_SENT = 16_384;

export interface UploadRequest {
  /** Names the piece, over all blobs. */
  piece: string;
  peer: string;
  /** 0 when a reader waits for the piece; else how much of the blob the asker holds, in any unit. */
  patience: number;
}

export interface UploadQueueOptions {
  /** Pieces sent at once. */
  slots: number;
  /** Requests that wait. */
  queueLimit: number;
  /** @default slots */
  slotsPerPeer?: number;
  /** @default queueLimit */
  queuePerPeer?: number;
  /** Longest wait before the asker is told to go elsewhere. @default 500 */
  waitMs?: number;
}

interface Waiting<R> {
  request: R;
  untilMs: number;
}

/** `start`: send these now. `refuse`: these must ask somebody else. */
export interface Turn<R> {
  start: R[];
  refuse: R[];
}

export class UploadQueue<R extends UploadRequest> {
  readonly #options: Required<UploadQueueOptions>;
  #busy = 0;
  #waiting: Waiting<R>[] = [];
  /** In the order in which they were first sent. */
  readonly #sent = new Set<string>();
  readonly #slotsOf = new Map<string, number>();

  constructor(options: UploadQueueOptions) {
    const { slots: slotsPerPeer, queueLimit: queuePerPeer } = options;
    this.#options = { slotsPerPeer, queuePerPeer, waitMs: DEFAULT_WAIT_MS, ...options };
  }

  ask(request: R, nowMs: number): Turn<R> {
    this.#waiting.push({ request, untilMs: nowMs + this.#options.waitMs });
    return this.#turn(nowMs);
  }

  /** An upload that was started has ended, however it ended. */
  ended(request: R, nowMs: number): Turn<R> {
    this.#busy--;
    const left = (this.#slotsOf.get(request.peer) ?? 1) - 1;
    if (left === 0) this.#slotsOf.delete(request.peer);
    else this.#slotsOf.set(request.peer, left);
    return this.#turn(nowMs);
  }

  /** The asker went away while it waited; one that was started is left to `ended`. */
  leave(request: R): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting.request !== request);
  }

  /** Refuses those that have waited too long; due from time to time while somebody waits. */
  expire(nowMs: number): Turn<R> {
    return this.#turn(nowMs);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  #turn(nowMs: number): Turn<R> {
    const turn: Turn<R> = { start: [], refuse: [] };
    this.#waiting = this.#waiting.filter(({ request, untilMs }) => {
      if (untilMs > nowMs) return true;
      turn.refuse.push(request);
      return false;
    });
    for (let next = this.#first(); this.#busy < this.#options.slots && next >= 0; next = this.#first()) {
      const [{ request }] = this.#waiting.splice(next, 1) as [Waiting<R>];
      this.#busy++;
      this.#slotsOf.set(request.peer, (this.#slotsOf.get(request.peer) ?? 0) + 1);
      this.#remember(request.piece);
      turn.start.push(request);
    }
    for (let last = this.#last(); last >= 0; last = this.#last()) {
      const [{ request }] = this.#waiting.splice(last, 1) as [Waiting<R>];
      turn.refuse.push(request);
    }
    return turn;
  }

  /** The place of the one to be served next, -1 when there is none; of equals, the one that has waited longest. */
  #first(): number {
    let first = -1;
    for (let at = 0; at < this.#waiting.length; at++) {
      const { peer } = (this.#waiting[at] as Waiting<R>).request;
      if ((this.#slotsOf.get(peer) ?? 0) >= this.#options.slotsPerPeer) continue;
      if (first < 0 || this.#isBefore(at, first)) first = at;
    }
    return first;
  }

  /** The place of one that is too many, -1 when there is none: of its peer's if that has too many, else of all. */
  #last(): number {
    const newest = this.#waiting.at(-1)?.request.peer;
    const ofPeer = this.#waiting.filter(({ request }) => request.peer === newest).length;
    const crowding = ofPeer > this.#options.queuePerPeer;
    if (!crowding && this.#waiting.length <= this.#options.queueLimit) return -1;
    let last = -1;
    for (let at = 0; at < this.#waiting.length; at++) {
      if (crowding && (this.#waiting[at] as Waiting<R>).request.peer !== newest) continue;
      if (last < 0 || !this.#isBefore(at, last)) last = at;
    }
    return last;
  }

  #isBefore(a: number, b: number): boolean {
    const one = (this.#waiting[a] as Waiting<R>).request;
    const other = (this.#waiting[b] as Waiting<R>).request;
    const more = (this.#slotsOf.get(one.peer) ?? 0) - (this.#slotsOf.get(other.peer) ?? 0);
    if (more !== 0) return more < 0;
    const oneSent = this.#sent.has(one.piece);
    if (oneSent !== this.#sent.has(other.piece)) return !oneSent;
    return one.patience < other.patience;
  }

  #remember(piece: string): void {
    this.#sent.add(piece);
    const [oldest] = this.#sent;
    if (this.#sent.size > MAX_SENT && oldest !== undefined) this.#sent.delete(oldest);
  }
}
