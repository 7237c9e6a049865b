/** One piece on its way from one node to another. Transfers are used again and again, as there are millions of them. */
import type { FetchFailure, UploadRequest } from '@shoal/swarm';
import type { SimNode } from './node.ts';

/** The request is on its way, or was lost with whom it went to. */
export const ASKED = 0;
/** It waits for an upload slot. */
export const WAITING = 1;
/** The sender's link carries it. */
export const SENDING = 2;
/** The sender is done with it. */
export const ARRIVING = 3;
/** A refusal is on its way back. */
export const REFUSED = 4;
/** The receiver is dead; the sender has not noticed. */
export const STUCK = 5;
export type TransferState =
  | typeof ASKED
  | typeof WAITING
  | typeof SENDING
  | typeof ARRIVING
  | typeof REFUSED
  | typeof STUCK;

export class Transfer implements UploadRequest {
  readonly id: number;
  /** Counts uses; an event of an earlier use means nothing to a later one. */
  use = 0;
  state: TransferState = ASKED;
  from: SimNode;
  to: SimNode;
  index = 0;
  /** Names the piece. */
  piece = '';
  copy = 0;
  /** The receiver does not want it any more; the sender may not know yet. */
  cancelled = false;
  /** As in the request. */
  patience = 0;
  deadlineMs = 0;
  askedAtMs = 0;
  /** When it began to wait for a slot, or the first byte left. */
  sinceMs = 0;
  why: FetchFailure = 'gone';
  retryAfterMs = 0;

  constructor(id: number, from: SimNode, to: SimNode) {
    this.id = id;
    this.from = from;
    this.to = to;
  }

  get peer(): string {
    return this.to.id;
  }
}
