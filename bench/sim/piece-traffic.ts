/**
 * Pieces between nodes: requests, the senders' queues, both links, refusals, deadlines. Follows `piece-server.ts` and
 * `piece-fetcher.ts` of the agent; the queue is the real one.
 *
 *   fetch ─latency─► UploadQueue ─┬─► up-link, shared equally by what is sent ─latency─► down-link, in turn ─► kept
 *                                 └─► busy, or not held ─latency─► fetch-failed
 */
import { type FetchFailure, type SwarmAction, type Turn, UploadQueue, uploadLimits } from '@shoal/swarm';
import { ARRIVAL, CANCEL, REFUSAL, REQUEST, UPLINK } from './event-kind.ts';
import { type SimNode, signerOfCopy } from './node.ts';
import type { Setting, WorldEars } from './setting.ts';
import { ARRIVING, ASKED, REFUSED, SENDING, STUCK, Transfer, WAITING } from './transfer.ts';

// As in the agent.
const QUEUE_WAIT_MS = 500;

type Wanted = Pick<Extract<SwarmAction, { type: 'fetch' }>, 'index' | 'patience' | 'deadlineMs'>;

export class PieceTraffic {
  readonly #setting: Setting;
  readonly #ears: WorldEars;
  readonly #random: () => number;
  readonly #transfers: Transfer[] = [];
  readonly #free: Transfer[] = [];
  readonly #pieceNames: string[];

  constructor(setting: Setting, ears: WorldEars) {
    this.#setting = setting;
    this.#ears = ears;
    this.#random = setting.randomFor(1);
    this.#pieceNames = Array.from({ length: setting.pieceCount }, (_, index) => `piece ${index}`);
  }

  newQueue(): UploadQueue<Transfer> {
    return new UploadQueue({ ...uploadLimits(this.#setting.plan.uploadSlots), waitMs: QUEUE_WAIT_MS });
  }

  fetch(to: SimNode, from: SimNode, { index, patience, deadlineMs }: Wanted): void {
    const { timeline, tally, nowMs } = this.#setting;
    const transfer = this.#free.pop() ?? this.#newTransfer(from, to);
    transfer.from = from;
    transfer.to = to;
    transfer.index = index;
    transfer.piece = this.#pieceNames[index] as string;
    transfer.patience = patience;
    transfer.deadlineMs = deadlineMs;
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
    transfer.state = WAITING;
    transfer.sinceMs = nowMs;
    this.#take(from.uploads.ask(transfer, nowMs));
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
    if (from.role.corrupt && this.#random() < this.#setting.plan.corrupt.pieces) {
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
    } else if (state === ASKED || state === WAITING || state === SENDING) {
      this.#release(transfer);
      this.#takeFromSender(transfer);
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
      if (state === WAITING && from.frozenUntilMs <= nowMs) {
        // The sender's own clock would have said so by now.
        this.#take(from.uploads.expire(nowMs));
        continue;
      }
      remove(node.inFlight, transfer);
      this.#abandon(transfer);
      this.#fail(node, from, index, 'slow', 0);
    }
  }

  /** The node wants nothing any more. */
  giveUp(node: SimNode): void {
    for (const transfer of node.inFlight.splice(0)) this.#abandon(transfer);
  }

  /** The node is dead. Whoever waits for something from it, or sends something to it, will notice. */
  died(node: SimNode): void {
    const { nowMs } = this.#setting;
    const asked = node.neighbours.flatMap(({ inFlight }) => inFlight.filter(({ from }) => from === node));
    const waiting = asked.filter(({ state }) => state === WAITING);
    for (const transfer of [...node.up.jobs, ...waiting]) {
      this.#countCarried(transfer);
      if (transfer.cancelled) this.#release(transfer);
      else [transfer.state, transfer.askedAtMs] = [ASKED, nowMs];
    }
    node.uploads = this.newQueue();
    node.downTakenUntilMs = 0;
    for (const transfer of node.inFlight.splice(0)) {
      if (transfer.state === ASKED) {
        this.#abandon(transfer);
        continue;
      }
      transfer.cancelled = true;
      if (transfer.state === WAITING || transfer.state === SENDING) node.owed.push(transfer);
      if (transfer.state === SENDING) this.#stick(transfer);
    }
  }

  /** `node` sees that it has no connection to `other` any more. */
  linkLost(node: SimNode, other: SimNode): void {
    for (const transfer of node.inFlight.filter(({ from }) => from === other)) {
      remove(node.inFlight, transfer);
      this.#abandon(transfer);
    }
    for (const transfer of [...other.owed, ...other.inFlight]) {
      const { from, state } = transfer;
      if (from !== node || (state !== WAITING && state !== SENDING && state !== STUCK)) continue;
      if (transfer.cancelled) {
        this.#release(transfer);
      } else {
        transfer.askedAtMs = this.#setting.nowMs;
      }
      this.#takeFromSender(transfer);
      transfer.state = ASKED;
    }
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

  /** Begins what the queue lets begin, and refuses what it refuses. */
  #take({ start, refuse }: Turn<Transfer>): void {
    for (const transfer of start) this.#send(transfer);
    for (const transfer of refuse) this.#answer(transfer, 'busy', this.#setting.plan.busyRetryMs);
  }

  #send(transfer: Transfer): void {
    const { from, index } = transfer;
    const { nowMs } = this.#setting;
    const copy = from.copies[index] as number;
    if (copy === 0) {
      this.#answer(transfer, 'not-held', 0);
      this.#take(from.uploads.ended(transfer, nowMs));
      return;
    }
    transfer.copy = copy;
    transfer.state = SENDING;
    transfer.sinceMs = nowMs;
    if (!transfer.to.alive) {
      transfer.state = STUCK;
      return;
    }
    from.up.add(transfer, this.#setting.bytesOf(index), nowMs);
    this.#watch(from);
  }

  #sent(transfer: Transfer): void {
    const { timeline, tally, nowMs } = this.#setting;
    const { from, to, sinceMs } = transfer;
    const bytes = this.#setting.bytesOf(transfer.index);
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
    this.#take(from.uploads.ended(transfer, nowMs));
  }

  /** Sees to it that the end of what is sent next is noticed. */
  #watch(node: SimNode): void {
    const nextMs = node.up.nextEndMs();
    if (nextMs >= node.upEventMs) return;
    node.upEventMs = nextMs;
    this.#setting.timeline.at(nextMs, UPLINK, node.index, 0);
  }

  /** Takes it out of the sender's queue or off its link; what it held up goes on. */
  #takeFromSender(transfer: Transfer): void {
    const { from, state } = transfer;
    if (state === WAITING) from.uploads.leave(transfer);
    if (state !== SENDING && state !== STUCK) return;
    this.#countCarried(transfer);
    this.#take(from.uploads.ended(transfer, this.#setting.nowMs));
    this.#watch(from);
  }

  /** The receiver is dead and takes nothing any more; the sender does not know, and keeps the slot for it. */
  #stick(transfer: Transfer): void {
    this.#countCarried(transfer);
    transfer.state = STUCK;
    this.#watch(transfer.from);
  }

  /** Takes a transfer that will not be finished off its sender's link. */
  #countCarried(transfer: Transfer): void {
    const { from, to } = transfer;
    const { tally, nowMs } = this.#setting;
    const carried = from.up.remove(transfer, nowMs) ?? 0;
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
    const { to } = transfer;
    if (transfer.state === ARRIVING) {
      // What is left of it does not come: the down-link is free so much sooner.
      const restMs = Math.min(this.#setting.bytesOf(transfer.index) / to.bytesPerMs, to.downTakenUntilMs - nowMs);
      to.downTakenUntilMs -= Math.max(0, restMs);
      return;
    }
    if (transfer.state === REFUSED) return;
    const latencyMs = this.#setting.latencyMs(transfer.from, transfer.to);
    timeline.at(nowMs + latencyMs, CANCEL, transfer.id, transfer.use);
  }

  #newTransfer(from: SimNode, to: SimNode): Transfer {
    const transfer = new Transfer(this.#transfers.length, from, to);
    this.#transfers.push(transfer);
    return transfer;
  }

  #release(transfer: Transfer): void {
    if (transfer.to.owed.length > 0) remove(transfer.to.owed, transfer);
    transfer.use++;
    this.#free.push(transfer);
  }
}

function isLate({ state, askedAtMs, sinceMs, from, deadlineMs }: Transfer, nowMs: number): boolean {
  const isFrozen = from.frozenUntilMs > nowMs;
  if (state === ASKED) return nowMs - askedAtMs >= deadlineMs;
  if (state === WAITING) return isFrozen ? nowMs - askedAtMs >= deadlineMs : nowMs - sinceMs >= QUEUE_WAIT_MS;
  return state === SENDING && isFrozen && nowMs - Math.max(sinceMs, from.frozenAtMs) >= deadlineMs;
}

function remove<T>(list: T[], one: T): void {
  const place = list.indexOf(one);
  if (place >= 0) list.splice(place, 1);
}
