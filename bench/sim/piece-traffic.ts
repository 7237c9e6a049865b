/**
 * Pieces between nodes: requests, upload slots, both links, refusals, deadlines. Follows `piece-server.ts`,
 * `upload-slots.ts` and `piece-fetcher.ts` of the agent.
 *
 *   fetch ─latency─► slot? ─┬─► up-link, shared equally by what is sent ─latency─► down-link, in turn ─► verified ─► kept
 *                           ├─► waits in a short queue, for 500 ms
 *                           └─► busy, or not held ─latency─► fetch-failed
 */
import type { FetchFailure } from '@shoal/swarm';
import { ARRIVAL, CANCEL, REFUSAL, REQUEST, UPLINK } from './event-kind.ts';
import { type SimNode, signerOfCopy } from './node.ts';
import type { Setting, WorldEars } from './setting.ts';
import { ARRIVING, ASKED, REFUSED, SENDING, Transfer, WAITING } from './transfer.ts';

// As in the agent.
const PIECE_DEADLINE_MS = 2_000;
const QUEUE_WAIT_MS = 500;
const MIN_RETRY_AFTER_MS = 20;
const MAX_RETRY_AFTER_MS = 1_000;
const SMOOTHING = 0.2;
const NEWCOMER_PIECES = 4;
export const FIRST_HOLD_MS = 50;

export class PieceTraffic {
  readonly #setting: Setting;
  readonly #ears: WorldEars;
  readonly #random: () => number;
  readonly #transfers: Transfer[] = [];
  readonly #free: Transfer[] = [];
  readonly #slots: number;
  readonly #slotsPerPeer: number;
  readonly #queueLimit: number;
  readonly #slotsForOldHands: number;
  readonly #queueForOldHands: number;
  readonly #corruptPieces: number;

  constructor(setting: Setting, ears: WorldEars) {
    this.#setting = setting;
    this.#ears = ears;
    this.#random = setting.randomFor(1);
    const { uploadSlots, corrupt } = setting.plan;
    this.#slots = uploadSlots;
    this.#slotsPerPeer = Math.ceil(uploadSlots / 2);
    this.#queueLimit = 2 * uploadSlots;
    this.#slotsForOldHands = uploadSlots - quarterOf(uploadSlots);
    this.#queueForOldHands = this.#queueLimit - quarterOf(this.#queueLimit);
    this.#corruptPieces = corrupt.pieces;
  }

  fetch(to: SimNode, from: SimNode, index: number): void {
    const { timeline, tally, nowMs } = this.#setting;
    const transfer = this.#free.pop() ?? this.#newTransfer(from, to);
    transfer.from = from;
    transfer.to = to;
    transfer.index = index;
    transfer.cancelled = false;
    transfer.askedAtMs = nowMs;
    to.inFlight.push(transfer);
    tally.requests++;
    if (to.neighbours.includes(from)) {
      transfer.state = ASKED;
      timeline.at(nowMs + this.#setting.latencyMs(from, to), REQUEST, transfer.id, transfer.use);
    } else {
      this.#refuse(transfer, 'gone', 0, 0);
    }
  }

  cancel(to: SimNode, from: SimNode, index: number): void {
    const place = to.inFlight.findIndex((transfer) => transfer.index === index && transfer.from === from);
    const transfer = to.inFlight[place];
    if (transfer === undefined) return;
    to.inFlight.splice(place, 1);
    this.#abandon(transfer);
  }

  onRequest(id: number, use: number): void {
    const transfer = this.#transfers[id] as Transfer;
    if (transfer.use !== use) return;
    const { timeline, nowMs } = this.#setting;
    const { from } = transfer;
    if (transfer.cancelled) {
      this.#release(transfer);
      return;
    }
    // The requester will notice that nothing comes.
    if (!from.alive) return;
    if (from.frozenUntilMs > nowMs) {
      timeline.at(from.frozenUntilMs, REQUEST, id, use);
      return;
    }
    if (!from.serves) {
      this.#answer(transfer, 'not-held', 0);
      return;
    }
    transfer.newcomer = transfer.to.held < NEWCOMER_PIECES;
    if (this.#maySend(transfer)) {
      this.#send(transfer);
    } else if (this.#mayWait(transfer)) {
      transfer.state = WAITING;
      transfer.sinceMs = nowMs;
      from.waiting.push(transfer);
    } else {
      this.#answer(transfer, 'busy', this.#retryAfterMs(from));
    }
  }

  onUplink(node: SimNode): void {
    const { nowMs } = this.#setting;
    if (nowMs >= node.upEventMs) node.upEventMs = Number.POSITIVE_INFINITY;
    for (let sent = node.up.takeEnded(nowMs); sent !== undefined; sent = node.up.takeEnded(nowMs)) this.#sent(sent);
    this.#watch(node);
  }

  onArrival(id: number, use: number): void {
    const transfer = this.#transfers[id] as Transfer;
    if (transfer.use !== use) return;
    const { timeline, tally, nowMs } = this.#setting;
    const { from, to, index, copy } = transfer;
    const bytes = this.#setting.bytesOf(index);
    if (transfer.cancelled) {
      tally.wastedBytes += bytes;
      this.#release(transfer);
      return;
    }
    if (to.frozenUntilMs > nowMs) {
      timeline.at(to.frozenUntilMs, ARRIVAL, id, use);
      return;
    }
    remove(to.inFlight, transfer);
    this.#release(transfer);
    tally.receivedBytes += bytes;
    if (from.role.corrupt && (this.#corruptPieces === 1 || this.#random() < this.#corruptPieces)) {
      tally.corruptPieces++;
      this.#fail(to, from, index, 'corrupt', 0);
    } else if (to.barred.size > 0 && to.barred.has(signerOfCopy(copy))) {
      this.#fail(to, from, index, 'not-held', 0);
    } else {
      this.#ears.keep(to, index, copy, from);
    }
  }

  onRefusal(id: number, use: number): void {
    const transfer = this.#transfers[id] as Transfer;
    if (transfer.use !== use) return;
    const { from, to, index, why, retryAfterMs, cancelled } = transfer;
    if (!cancelled && to.frozenUntilMs > this.#setting.nowMs) {
      this.#setting.timeline.at(to.frozenUntilMs, REFUSAL, id, use);
      return;
    }
    if (!cancelled) remove(to.inFlight, transfer);
    this.#release(transfer);
    if (!cancelled) this.#fail(to, from, index, why, retryAfterMs);
  }

  /** The sender hears that a transfer is not wanted any more. */
  onCancel(id: number, use: number): void {
    const transfer = this.#transfers[id] as Transfer;
    if (transfer.use !== use) return;
    const { from, state } = transfer;
    if (from.alive && from.frozenUntilMs > this.#setting.nowMs) {
      this.#setting.timeline.at(from.frozenUntilMs, CANCEL, id, use);
    } else if (state === ASKED) {
      this.#release(transfer);
    } else if (state === WAITING || state === SENDING) {
      this.#takeFromSender(transfer);
      this.#release(transfer);
      this.#sendNext(from);
      this.#watch(from);
    }
  }

  /** Ends what has waited for too long, at either side. Due at every tick of the node that waits. */
  lookAfter(node: SimNode): void {
    if (node.inFlight.length === 0) return;
    const { nowMs } = this.#setting;
    const late = node.inFlight.filter((transfer) => isLate(transfer, nowMs));
    for (const transfer of late) {
      if (!node.inFlight.includes(transfer)) continue;
      const { from, index, state } = transfer;
      remove(node.inFlight, transfer);
      if (state === WAITING && from.frozenUntilMs <= nowMs) {
        const retryAfterMs = this.#retryAfterMs(from);
        remove(from.waiting, transfer);
        this.#release(transfer);
        this.#fail(node, from, index, 'busy', retryAfterMs);
      } else {
        this.#abandon(transfer);
        this.#fail(node, from, index, 'slow', 0);
      }
    }
  }

  /** The node wants nothing any more. */
  giveUp(node: SimNode): void {
    for (const transfer of node.inFlight.splice(0)) this.#abandon(transfer);
  }

  /** The node is dead. Whoever waits for something from it, or sends something to it, will notice. */
  died(node: SimNode): void {
    const { nowMs } = this.#setting;
    for (const transfer of [...node.up.jobs, ...node.waiting]) {
      this.#takeFromSender(transfer);
      if (transfer.cancelled) this.#release(transfer);
      else [transfer.state, transfer.askedAtMs] = [ASKED, nowMs];
    }
    this.giveUp(node);
    node.oldHandsServed = 0;
    node.downTakenUntilMs = 0;
  }

  /** `node` sees that it has no connection to `other` any more. */
  linkLost(node: SimNode, other: SimNode): void {
    for (const transfer of node.inFlight.filter(({ from }) => from === other)) {
      remove(node.inFlight, transfer);
      this.#abandon(transfer);
    }
    const outbound = [...node.up.jobs, ...node.waiting].filter(({ to }) => to === other);
    for (const transfer of outbound) {
      this.#takeFromSender(transfer);
      if (transfer.cancelled) this.#release(transfer);
      else transfer.state = ASKED;
    }
    if (outbound.length === 0) return;
    this.#sendNext(node);
    this.#watch(node);
  }

  /** The node does nothing until it is thawed. */
  freeze(node: SimNode): void {
    node.up.pause(this.#setting.nowMs);
  }

  thaw(node: SimNode): void {
    node.up.resume(this.#setting.nowMs);
    this.#watch(node);
  }

  // The sender.

  #maySend({ from, to, newcomer }: Transfer): boolean {
    const { jobs } = from.up;
    if (jobs.length >= this.#slots) return false;
    if (!newcomer && from.oldHandsServed >= this.#slotsForOldHands) return false;
    return countTo(jobs, to) < this.#slotsPerPeer;
  }

  #mayWait({ from, to, newcomer }: Transfer): boolean {
    const { waiting } = from;
    if (waiting.length >= this.#queueLimit) return false;
    if (!newcomer && waiting.filter((one) => !one.newcomer).length >= this.#queueForOldHands) return false;
    return countTo(waiting, to) < this.#slotsPerPeer;
  }

  #send(transfer: Transfer): void {
    const { from, index } = transfer;
    const { nowMs } = this.#setting;
    const copy = from.copies[index] as number;
    if (copy === 0) {
      this.#answer(transfer, 'not-held', 0);
      return;
    }
    transfer.copy = copy;
    transfer.state = SENDING;
    transfer.sinceMs = nowMs;
    if (!transfer.newcomer) from.oldHandsServed++;
    from.up.add(transfer, this.#setting.bytesOf(index), nowMs);
    this.#watch(from);
  }

  #sent(transfer: Transfer): void {
    const { timeline, tally, nowMs } = this.#setting;
    const { from, to, sinceMs } = transfer;
    const bytes = this.#setting.bytesOf(transfer.index);
    if (!transfer.newcomer) from.oldHandsServed--;
    from.holdMs += (nowMs - sinceMs - from.holdMs) * SMOOTHING;
    tally.peerBytes += bytes;
    if (from.zone !== to.zone) tally.crossZoneBytes += bytes;
    if (transfer.cancelled) {
      tally.wastedBytes += bytes;
      this.#release(transfer);
    } else {
      // The down-link takes it in from its first byte on, after what came before, and is done no sooner than the last byte.
      const latencyMs = this.#setting.latencyMs(from, to);
      const taken = Math.max(to.downTakenUntilMs, sinceMs + latencyMs) + bytes / to.bytesPerMs;
      to.downTakenUntilMs = taken;
      transfer.state = ARRIVING;
      timeline.at(Math.max(taken, nowMs + latencyMs), ARRIVAL, transfer.id, transfer.use);
    }
    this.#sendNext(from);
  }

  #sendNext(from: SimNode): void {
    const { waiting } = from;
    for (let place = 0; place < waiting.length && from.up.jobs.length < this.#slots; ) {
      const transfer = waiting[place] as Transfer;
      if (this.#maySend(transfer)) {
        waiting.splice(place, 1);
        this.#send(transfer);
      } else {
        place++;
      }
    }
  }

  /** Sees to it that the end of what is sent next is noticed. */
  #watch(node: SimNode): void {
    const nextMs = node.up.nextEndMs();
    if (nextMs >= node.upEventMs) return;
    node.upEventMs = nextMs;
    this.#setting.timeline.at(nextMs, UPLINK, node.index, 0);
  }

  #takeFromSender(transfer: Transfer): void {
    const { from, to } = transfer;
    const { tally, nowMs } = this.#setting;
    if (transfer.state === WAITING) {
      remove(from.waiting, transfer);
      return;
    }
    const carried = from.up.remove(transfer, nowMs) ?? 0;
    if (!transfer.newcomer) from.oldHandsServed--;
    tally.peerBytes += carried;
    tally.wastedBytes += carried;
    if (from.zone !== to.zone) tally.crossZoneBytes += carried;
  }

  #answer(transfer: Transfer, why: FetchFailure, retryAfterMs: number): void {
    this.#refuse(transfer, why, retryAfterMs, this.#setting.latencyMs(transfer.from, transfer.to));
  }

  #refuse(transfer: Transfer, why: FetchFailure, retryAfterMs: number, delayMs: number): void {
    transfer.state = REFUSED;
    transfer.why = why;
    transfer.retryAfterMs = retryAfterMs;
    this.#setting.timeline.at(this.#setting.nowMs + delayMs, REFUSAL, transfer.id, transfer.use);
  }

  #retryAfterMs(from: SimNode): number {
    const queueMs = (from.holdMs * (from.waiting.length + 1)) / this.#slots;
    return Math.round(Math.min(MAX_RETRY_AFTER_MS, Math.max(MIN_RETRY_AFTER_MS, queueMs)));
  }

  // The receiver.

  #fail(to: SimNode, peer: SimNode, index: number, why: FetchFailure, retryAfterMs: number): void {
    const { tally } = this.#setting;
    if (why === 'busy') tally.busy++;
    else if (why === 'not-held') tally.notHeld++;
    else if (why === 'slow') tally.slow++;
    this.#ears.tell(to, { type: 'fetch-failed', peer: peer.id, index, why, retryAfterMs });
  }

  /** The receiver gives it up and tells the sender so. It is not among the receiver's any more. */
  #abandon(transfer: Transfer): void {
    const { timeline, nowMs } = this.#setting;
    transfer.cancelled = true;
    if (transfer.state === ARRIVING || transfer.state === REFUSED) return;
    const latencyMs = this.#setting.latencyMs(transfer.from, transfer.to);
    timeline.at(nowMs + latencyMs, CANCEL, transfer.id, transfer.use);
  }

  #newTransfer(from: SimNode, to: SimNode): Transfer {
    const transfer = new Transfer(this.#transfers.length, from, to);
    this.#transfers.push(transfer);
    return transfer;
  }

  #release(transfer: Transfer): void {
    transfer.use++;
    this.#free.push(transfer);
  }
}

function isLate({ state, askedAtMs, sinceMs, from }: Transfer, nowMs: number): boolean {
  const isFrozen = from.frozenUntilMs > nowMs;
  if (state === ASKED) return nowMs - askedAtMs >= PIECE_DEADLINE_MS;
  if (state === WAITING) return isFrozen ? nowMs - askedAtMs >= PIECE_DEADLINE_MS : nowMs - sinceMs >= QUEUE_WAIT_MS;
  return state === SENDING && isFrozen && nowMs - Math.max(sinceMs, from.frozenAtMs) >= PIECE_DEADLINE_MS;
}

function countTo(transfers: readonly Transfer[], to: SimNode): number {
  let count = 0;
  for (let at = 0; at < transfers.length; at++) if ((transfers[at] as Transfer).to === to) count++;
  return count;
}

function remove<T>(list: T[], one: T): void {
  const place = list.indexOf(one);
  if (place >= 0) list.splice(place, 1);
}

/** At least one of several. */
function quarterOf(count: number): number {
  return count > 1 ? Math.max(1, Math.floor(count / 4)) : 0;
}
