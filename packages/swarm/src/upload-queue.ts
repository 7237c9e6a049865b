/**
 * Whose piece leaves next. A few pieces are sent at once and a few requests wait; of those that wait goes first
 *
 *   1. to the peer that is being sent the least: so transfers spread over the links of the receivers
 *   2. a piece that this agent has not sent to anybody yet: what leaves here for the first time others can pass on
 *   3. to the one with the least patience: whose reader waits for it, then who holds the least of its blob. So streams flow,
 *      newcomers get something to trade with, and nobody is left behind
 *
 * When the queue is full, the last by that order is told to go elsewhere. One peer has at most its share of slots and queue:
 * whoever takes its pieces slowly holds up only itself.
 */
/** Few at a time, so that each leaves quickly; more on links where a transfer does not fill its share. */
export const DEFAULT_UPLOAD_SLOTS = 6;
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

/** One peer has at most half of the slots and of the places to wait in; there are two of these for each slot. */
export function uploadLimits(slots: number): Required<Omit<UploadQueueOptions, 'waitMs'>> {
  const perPeer = Math.ceil(slots / 2);
  return { slots, slotsPerPeer: perPeer, queueLimit: 2 * slots, queuePerPeer: perPeer };
}

/** What one peer is being sent, and how many of its requests wait. */
interface Receiver {
  slots: number;
  waiting: number;
}

interface Waiting<R> {
  readonly request: R;
  readonly receiver: Receiver;
  readonly untilMs: number;
  /** Its piece has been sent to somebody. */
  wasSent: boolean;
}

/** `start`: send these now. `refuse`: these must ask somebody else. */
export interface Turn<R> {
  start: R[];
  refuse: R[];
}

function completed(options: UploadQueueOptions): Required<UploadQueueOptions> {
  const { slots: slotsPerPeer, queueLimit: queuePerPeer } = options;
  return { slotsPerPeer, queuePerPeer, waitMs: DEFAULT_WAIT_MS, ...options };
}

export class UploadQueue<R extends UploadRequest> {
  #options: Required<UploadQueueOptions>;
  #busy = 0;
  #waiting: Waiting<R>[] = [];
  /** In the order in which they were first sent. */
  readonly #sent = new Set<string>();
  readonly #receivers = new Map<string, Receiver>();

  constructor(options: UploadQueueOptions) {
    this.#options = completed(options);
  }

  /** What is sent goes on; from here on there are so many slots and places. */
  resize(options: UploadQueueOptions, nowMs: number): Turn<R> {
    this.#options = completed(options);
    return this.#turn(nowMs);
  }

  ask(request: R, nowMs: number): Turn<R> {
    let receiver = this.#receivers.get(request.peer);
    if (receiver === undefined) {
      receiver = { slots: 0, waiting: 0 };
      this.#receivers.set(request.peer, receiver);
    }
    receiver.waiting++;
    const untilMs = nowMs + this.#options.waitMs;
    this.#waiting.push({ request, receiver, untilMs, wasSent: this.#sent.has(request.piece) });
    return this.#turn(nowMs);
  }

  /** An upload that was started has ended, however it ended. */
  ended(request: R, nowMs: number): Turn<R> {
    this.#busy--;
    const receiver = this.#receivers.get(request.peer);
    if (receiver !== undefined) {
      receiver.slots--;
      this.#forget(request.peer, receiver);
    }
    return this.#turn(nowMs);
  }

  /** The asker went away while it waited; one that was started is left to `ended`. */
  leave(request: R): void {
    const at = this.#waiting.findIndex((waiting) => waiting.request === request);
    if (at >= 0) this.#remove(at);
  }

  /** Refuses those that have waited too long; due from time to time while somebody waits. */
  expire(nowMs: number): Turn<R> {
    return this.#turn(nowMs);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get sending(): number {
    return this.#busy;
  }

  #turn(nowMs: number): Turn<R> {
    const turn: Turn<R> = { start: [], refuse: [] };
    for (let at = this.#waiting.length - 1; at >= 0; at--) {
      if ((this.#waiting[at] as Waiting<R>).untilMs <= nowMs) turn.refuse.unshift(this.#remove(at));
    }
    while (this.#busy < this.#options.slots) {
      const next = this.#first();
      if (next < 0) break;
      const { receiver } = this.#waiting[next] as Waiting<R>;
      receiver.slots++;
      const request = this.#remove(next);
      this.#busy++;
      this.#remember(request.piece);
      turn.start.push(request);
    }
    for (let last = this.#last(); last >= 0; last = this.#last()) turn.refuse.push(this.#remove(last));
    return turn;
  }

  #remove(at: number): R {
    const [{ request, receiver }] = this.#waiting.splice(at, 1) as [Waiting<R>];
    receiver.waiting--;
    this.#forget(request.peer, receiver);
    return request;
  }

  #forget(peer: string, { slots, waiting }: Receiver): void {
    if (slots === 0 && waiting === 0) this.#receivers.delete(peer);
  }

  /** The place of the one to be served next, -1 when there is none; of equals, the one that has waited longest. */
  #first(): number {
    let first = -1;
    for (let at = 0; at < this.#waiting.length; at++) {
      if ((this.#waiting[at] as Waiting<R>).receiver.slots >= this.#options.slotsPerPeer) continue;
      if (first < 0 || this.#isBefore(at, first)) first = at;
    }
    return first;
  }

  /** The place of one that is too many, -1 when there is none: of its peer's if that has too many, else of all. */
  #last(): number {
    const newest = this.#waiting.at(-1);
    if (newest === undefined) return -1;
    const crowding = newest.receiver.waiting > this.#options.queuePerPeer;
    if (!crowding && this.#waiting.length <= this.#options.queueLimit) return -1;
    let last = -1;
    for (let at = 0; at < this.#waiting.length; at++) {
      if (crowding && (this.#waiting[at] as Waiting<R>).receiver !== newest.receiver) continue;
      if (last < 0 || !this.#isBefore(at, last)) last = at;
    }
    return last;
  }

  #isBefore(a: number, b: number): boolean {
    const one = this.#waiting[a] as Waiting<R>;
    const other = this.#waiting[b] as Waiting<R>;
    if (one.receiver.slots !== other.receiver.slots) return one.receiver.slots < other.receiver.slots;
    if (one.wasSent !== other.wasSent) return !one.wasSent;
    return one.request.patience < other.request.patience;
  }

  #remember(piece: string): void {
    this.#sent.add(piece);
    for (const waiting of this.#waiting) if (waiting.request.piece === piece) waiting.wasSent = true;
    const [oldest] = this.#sent;
    if (this.#sent.size > MAX_SENT && oldest !== undefined) this.#sent.delete(oldest);
  }
}
