/**
 * Whose piece leaves next. A few pieces are sent at once and a few requests wait; of those that wait goes first
 *
 *   1. a piece that this agent has not sent to anybody yet: what leaves here for the first time others can pass on
 *   2. the one who holds the least of its blob: newcomers get something to trade with, and nobody is left behind
 *
 * When the queue is full, the last by that order is told to go elsewhere.
 */
const DEFAULT_WAIT_MS = 500;
/** Pieces remembered as sent. */
const MAX_SENT = 16_384;

export interface UploadRequest {
  /** Names the piece, over all blobs. */
  piece: string;
  /** How much of the blob the asker holds, in [0, 1]. */
  held: number;
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
  readonly #slots: number;
  readonly #queueLimit: number;
  readonly #waitMs: number;
  #busy = 0;
  #waiting: Waiting<R>[] = [];
  /** In the order in which they were first sent. */
  readonly #sent = new Set<string>();

  /** @param options.waitMs longest wait before the asker is told to go elsewhere, 500 by default */
  constructor(options: { slots: number; queueLimit: number; waitMs?: number }) {
    this.#slots = options.slots;
    this.#queueLimit = options.queueLimit;
    this.#waitMs = options.waitMs ?? DEFAULT_WAIT_MS;
  }

  ask(request: R, nowMs: number): Turn<R> {
    this.#waiting.push({ request, untilMs: nowMs + this.#waitMs });
    return this.#turn(nowMs);
  }

  /** An upload that was started has ended, however it ended. */
  ended(nowMs: number): Turn<R> {
    this.#busy--;
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
    while (this.#busy < this.#slots && this.#waiting.length > 0) {
      const [{ request }] = this.#waiting.splice(this.#first(), 1) as [Waiting<R>];
      this.#busy++;
      this.#remember(request.piece);
      turn.start.push(request);
    }
    while (this.#waiting.length > this.#queueLimit) {
      const [{ request }] = this.#waiting.splice(this.#last(), 1) as [Waiting<R>];
      turn.refuse.push(request);
    }
    return turn;
  }

  /** The place of the one to be served next; of equals, the one that has waited longest. */
  #first(): number {
    let first = 0;
    for (let at = 1; at < this.#waiting.length; at++) if (this.#isBefore(at, first)) first = at;
    return first;
  }

  /** The place of the one to be refused; of equals, the newest. */
  #last(): number {
    let last = 0;
    for (let at = 1; at < this.#waiting.length; at++) if (!this.#isBefore(at, last)) last = at;
    return last;
  }

  #isBefore(a: number, b: number): boolean {
    const one = (this.#waiting[a] as Waiting<R>).request;
    const other = (this.#waiting[b] as Waiting<R>).request;
    const oneSent = this.#sent.has(one.piece);
    if (oneSent !== this.#sent.has(other.piece)) return !oneSent;
    return one.held < other.held;
  }

  #remember(piece: string): void {
    this.#sent.add(piece);
    const [oldest] = this.#sent;
    if (this.#sent.size > MAX_SENT && oldest !== undefined) this.#sent.delete(oldest);
  }
}
