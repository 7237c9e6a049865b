/** Reads the run that a node's swarm asks for from the origin. Follows `origin-reader.ts` and `origin-run.ts` of the agent. */
import type { OriginEnd, SwarmAction } from '@shoal/swarm';
import type { LeaseDesk } from './lease-desk.ts';
import { copyOf, type SimNode } from './node.ts';
import type { Origin, OriginResponse } from './origin.ts';
import type { Setting, WorldEars } from './setting.ts';

// As in the agent.
const HEADERS_MS = 10_000;
export const STALL_MS = 2_000;
const BYTES_EVENT_EVERY_MS = 200;

/** The one run that a node reads. */
export interface Reading {
  response: OriginResponse;
  readonly from: number;
  to: number;
  readonly whole: boolean;
  /** Nothing known before the headers. */
  ranged: boolean | undefined;
  next: number;
  /** The tracker is asked how far the run goes. */
  growing: boolean;
  /** When bytes last came, and how many had come by then. */
  progressMs: number;
  progressBytes: number;
  toldMs: number;
}

export class OriginReading {
  readonly #setting: Setting;
  readonly #ears: WorldEars;
  readonly #origin: Origin;
  readonly #leases: LeaseDesk;
  readonly #random: () => number;

  constructor(setting: Setting, ears: WorldEars, origin: Origin, leases: LeaseDesk) {
    this.#setting = setting;
    this.#ears = ears;
    this.#origin = origin;
    this.#leases = leases;
    this.#random = setting.randomFor(4);
  }

  read(node: SimNode, { from, to, whole }: Extract<SwarmAction, { type: 'read-origin' }>): void {
    if (node.reading !== undefined) this.#setting.violation(`${node.id} reads two runs at once`);
    if (!(from < to && to <= this.#setting.pieceCount)) this.#setting.violation(`${node.id} reads [${from}, ${to})`);
    let reading: Reading;
    const isCurrent = (): boolean => node.reading === reading;
    const response = this.#origin.open(node, from, to, {
      headers: (ranged) => {
        if (isCurrent()) this.#headers(node, reading, ranged);
      },
      piece: (index, last) => {
        if (isCurrent()) this.#piece(node, reading, index, last);
      },
      failed: (how, retryAfterMs) => {
        if (isCurrent()) this.#ended(node, reading, how, retryAfterMs);
      },
    });
    const { nowMs } = this.#setting;
    reading = {
      response,
      from,
      to,
      whole,
      ranged: undefined,
      next: from,
      growing: false,
      progressMs: nowMs,
      progressBytes: 0,
      toldMs: Number.NEGATIVE_INFINITY,
    };
    node.reading = reading;
  }

  limit(node: SimNode, to: number): void {
    const { reading } = node;
    if (reading === undefined) return;
    reading.to = to;
    this.#setting.laterFor(node, 0, () => this.#endIfRead(node, reading));
  }

  stop(node: SimNode): void {
    if (node.reading !== undefined) this.#origin.close(node.reading.response);
    node.reading = undefined;
  }

  /** Bytes from the origin by now, for the renewal of leases. */
  bytes(node: SimNode): number {
    return node.originBytes + (node.reading === undefined ? 0 : this.#origin.carried(node.reading.response));
  }

  /** Tells the swarm of bytes that come slowly, and gives up a response that has fallen silent. Due at every tick. */
  lookAfter(node: SimNode): void {
    const { reading } = node;
    if (reading === undefined) return;
    const { nowMs } = this.#setting;
    const bytes = this.bytes(node);
    if (bytes > reading.progressBytes) {
      reading.progressBytes = bytes;
      reading.progressMs = nowMs;
      this.#tellBytes(node, reading);
    } else if (nowMs - reading.progressMs >= (reading.ranged === undefined ? HEADERS_MS : STALL_MS)) {
      this.#ended(node, reading, 'failed', undefined);
    }
  }

  #tellBytes(node: SimNode, reading: Reading): void {
    const { nowMs } = this.#setting;
    if (nowMs - reading.toldMs < BYTES_EVENT_EVERY_MS) return;
    reading.toldMs = nowMs;
    this.#ears.tell(node, { type: 'origin-bytes' });
  }

  #headers(node: SimNode, reading: Reading, ranged: boolean): void {
    const { from, to, whole } = reading;
    reading.progressMs = this.#setting.nowMs;
    if (!ranged && from > 0 && !whole) {
      this.#ended(node, reading, 'no-range', undefined);
      return;
    }
    reading.ranged = ranged;
    this.#tellBytes(node, reading);
    if (node.reading !== reading || (from === 0 && to === this.#setting.pieceCount)) return;
    reading.growing = true;
    this.#leases.rangesKnown(node, from, ranged, () => {
      reading.growing = false;
      this.#endIfRead(node, reading);
    });
  }

  #piece(node: SimNode, reading: Reading, index: number, last: boolean): void {
    const { nowMs, tally } = this.#setting;
    const bytes = this.#setting.bytesOf(index);
    reading.progressMs = nowMs;
    tally.receivedBytes += bytes;
    node.originBytes += bytes;
    if (index < reading.from || index >= reading.to) {
      this.#endIfRead(node, reading);
      return;
    }
    reading.next = index + 1;
    const lies = node.role.liar && this.#random() < this.#setting.plan.liars.pieces;
    this.#ears.keep(node, index, copyOf(node.index, lies), undefined);
    if (last && reading.next < reading.to) this.#ended(node, reading, 'failed', undefined);
    else this.#endIfRead(node, reading);
  }

  #endIfRead(node: SimNode, reading: Reading): void {
    if (node.reading !== reading || reading.next < reading.to || reading.growing) return;
    const fits = reading.ranged === true || reading.whole || reading.to === this.#setting.pieceCount;
    this.#ended(node, reading, fits ? 'done' : 'no-range', undefined);
  }

  #ended(node: SimNode, reading: Reading, how: OriginEnd, retryAfterMs: number | undefined): void {
    if (node.reading !== reading) return;
    node.reading = undefined;
    this.#origin.close(reading.response);
    const ranged = how === 'no-range' ? false : reading.ranged;
    this.#ears.tell(node, {
      type: 'origin-ended',
      how,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(ranged !== undefined && { ranged }),
    });
  }
}
