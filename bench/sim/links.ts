/**
 * Who is connected to whom, and what connected nodes tell each other: that they want the blob, what they hold, and what is
 * new, gathered for 20 ms. Follows `network.ts`, `subscriptions.ts`, `fresh-pieces.ts` and `dialer.ts` of the agent.
 */
import { PieceMap } from '@shoal/swarm';
import { HAVES, HAVES_FAR, HAVES_NEAR, WINDOW } from './event-kind.ts';
import type { SimNode } from './node.ts';
import type { PieceTraffic } from './piece-traffic.ts';
import type { Setting, WorldEars } from './setting.ts';

// As in the agent.
const TELL_TOGETHER_MS = 20;
const PARALLEL_DIALS = 8;
const DIAL_DEADLINE_MS = 3_000;
const FIRST_BACK_OFF_MS = 500;
const MAX_BACK_OFF_MS = 30_000;
/** TCP, the secure channel, then each side shows its certificate: in units of the way there or back. */
const CONNECT_WAYS = 4;
const MAX_KNOWN = 128;

/** What one node tells all of its neighbours, shared by them. */
interface Batch {
  node: SimNode;
  life: number;
  event: { type: 'peer-have'; peer: string; indexes: readonly number[] };
  /** Deliveries to come: to near and to far neighbours. */
  left: number;
}

export class Links {
  readonly #setting: Setting;
  readonly #ears: WorldEars;
  readonly #traffic: PieceTraffic;
  readonly #random: () => number;
  readonly #batches: (Batch | undefined)[] = [];
  readonly #freeBatches: number[] = [];
  readonly #oneLatency: boolean;

  constructor(setting: Setting, ears: WorldEars, traffic: PieceTraffic) {
    this.#setting = setting;
    this.#ears = ears;
    this.#traffic = traffic;
    this.#random = setting.randomFor(2);
    const { zones, latencyMs, zoneLatencyMs } = setting.plan;
    this.#oneLatency = zones === 1 || latencyMs === zoneLatencyMs;
  }

  // New pieces.

  publish(node: SimNode, index: number): void {
    node.fresh.push(index);
    if (!node.freshWindowOpen) this.endWindow(node);
  }

  /** Tells what there is and opens the next window; one in which nothing came is the last. */
  endWindow(node: SimNode): void {
    const { timeline, plan, nowMs } = this.#setting;
    node.freshWindowOpen = node.fresh.length > 0 && node.alive;
    if (!node.freshWindowOpen) return;
    timeline.at(nowMs + TELL_TOGETHER_MS, WINDOW, node.index, node.life);
    const event: Batch['event'] = { type: 'peer-have', peer: node.id, indexes: node.fresh };
    node.fresh = [];
    if (plan.haveDelayMs > 0) {
      this.#tellEachLate(node, event);
      return;
    }
    const batch = { node, life: node.life, event, left: this.#oneLatency ? 1 : 2 };
    const slot = this.#freeBatches.pop() ?? this.#batches.length;
    this.#batches[slot] = batch;
    timeline.at(nowMs + plan.latencyMs, this.#oneLatency ? HAVES : HAVES_NEAR, slot, 0);
    if (!this.#oneLatency) timeline.at(nowMs + plan.zoneLatencyMs, HAVES_FAR, slot, 0);
  }

  onHaves(slot: number, kind: number): void {
    const batch = this.#batches[slot] as Batch;
    if (--batch.left === 0) {
      this.#batches[slot] = undefined;
      this.#freeBatches.push(slot);
    }
    const { node, life, event } = batch;
    if (node.life !== life) return;
    const { neighbours, zone } = node;
    for (let at = 0; at < neighbours.length; at++) {
      const neighbour = neighbours[at] as SimNode;
      if (!neighbour.active) continue;
      if (kind !== HAVES && (neighbour.zone === zone) !== (kind === HAVES_NEAR)) continue;
      this.#deliver(neighbour, node, event);
    }
  }

  #deliver(neighbour: SimNode, node: SimNode, event: Batch['event']): void {
    if (neighbour.frozenUntilMs > this.#setting.nowMs) {
      this.#setting.laterFor(neighbour, 0, () => this.#deliver(neighbour, node, event));
      return;
    }
    this.#setting.tally.havesDelivered++;
    this.#ears.tell(neighbour, event);
  }

  #tellEachLate(node: SimNode, event: Batch['event']): void {
    for (const neighbour of node.neighbours) {
      const delayMs = this.#setting.latencyMs(node, neighbour) + this.#random() * this.#setting.plan.haveDelayMs;
      this.#setting.laterFor(neighbour, delayMs, () => {
        if (neighbour.active && neighbour.neighbours.includes(node)) this.#deliver(neighbour, node, event);
      });
    }
  }

  // Connections.

  /** Asks for a connection to each of these; a few are made at a time, none twice, and what failed not too soon again. */
  dial(node: SimNode, others: readonly SimNode[]): void {
    for (const other of others) {
      if (this.#mayDial(node, other) && !node.dialQueue.includes(other)) node.dialQueue.push(other);
    }
    this.#dialNext(node);
  }

  #mayDial(node: SimNode, other: SimNode): boolean {
    if (other === node || node.dialling.has(other) || node.neighbours.includes(other)) return false;
    if ((node.dialFailures.get(other)?.notBeforeMs ?? 0) > this.#setting.nowMs) return false;
    return !node.barred.has(other.index) && node.neighbours.length < this.#setting.plan.maxConnections;
  }

  #dialNext(node: SimNode): void {
    while (node.dialQueue.length > 0 && node.dialling.size < PARALLEL_DIALS) {
      const other = node.dialQueue.shift() as SimNode;
      if (this.#mayDial(node, other)) this.#dialOne(node, other);
    }
  }

  #dialOne(node: SimNode, other: SimNode): void {
    node.dialling.add(other);
    const answers = other.alive && other.frozenUntilMs <= this.#setting.nowMs;
    const delayMs = answers ? CONNECT_WAYS * this.#setting.latencyMs(node, other) : DIAL_DEADLINE_MS;
    this.#setting.laterFor(node, delayMs, () => {
      node.dialling.delete(other);
      if (!answers || !this.connect(node, other)) this.#dialFailed(node, other);
      this.#dialNext(node);
    });
  }

  #dialFailed(node: SimNode, other: SimNode): void {
    const count = (node.dialFailures.get(other)?.count ?? 0) + 1;
    const fullMs = Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (count - 1));
    node.dialFailures.set(other, { count, notBeforeMs: this.#setting.nowMs + fullMs * (0.5 + this.#random() / 2) });
  }

  /** Returns whether the two are connected now. */
  connect(node: SimNode, other: SimNode): boolean {
    if (!node.alive || !other.alive || node === other) return false;
    if (node.barred.has(other.index) || other.barred.has(node.index)) return false;
    // What is left of a connection to an earlier life of either makes place for the new one.
    const stale = node.neighbours.includes(other) !== other.neighbours.includes(node);
    if (stale) this.#loseAtBothEnds(node, other);
    if (node.neighbours.includes(other)) return true;
    const { maxConnections } = this.#setting.plan;
    if (node.neighbours.length >= maxConnections || other.neighbours.length >= maxConnections) return false;
    node.neighbours.push(other);
    other.neighbours.push(node);
    node.dialFailures.delete(other);
    this.#remember(node, other);
    this.#remember(other, node);
    this.#introduce(node, other);
    this.#introduce(other, node);
    return true;
  }

  #remember(node: SimNode, other: SimNode): void {
    if (node.known.length < MAX_KNOWN && !node.known.includes(other)) node.known.push(other);
  }

  /** `node` asks what the other one holds. */
  #introduce(node: SimNode, other: SimNode): void {
    const latencyMs = this.#setting.latencyMs(node, other);
    const isLinked = (): boolean => node.neighbours.includes(other) && other.neighbours.includes(node);
    const peer = other.id;
    const zone = other.zoneName;
    this.#setting.laterFor(node, latencyMs, () => {
      if (isLinked() && other.active) this.#ears.tell(node, { type: 'peer-wants', peer, zone });
    });
    this.#setting.laterFor(other, latencyMs, () => {
      if (!node.active || other.held === 0 || !other.serves) return;
      const pieces = mapOf(other);
      this.#setting.laterFor(node, latencyMs, () => {
        if (isLinked()) this.#ears.tell(node, { type: 'peer-map', peer, zone, pieces });
      });
    });
  }

  /** The node begins to want the blob: its neighbours hear of it and answer with what they hold. */
  wants(node: SimNode): void {
    for (const other of node.neighbours) {
      this.#introduce(node, other);
      this.#introduce(other, node);
    }
  }

  /** `node` sees that the other one is gone. */
  lose(node: SimNode, other: SimNode): void {
    const place = node.neighbours.indexOf(other);
    if (place < 0) return;
    node.neighbours.splice(place, 1);
    this.#ears.tell(node, { type: 'peer-gone', peer: other.id });
    this.#traffic.linkLost(node, other);
  }

  #loseAtBothEnds(node: SimNode, other: SimNode): void {
    this.lose(node, other);
    this.lose(other, node);
  }

  /** The connection breaks, and comes back after a while. */
  flap(node: SimNode, other: SimNode, downMs: number): void {
    if (!node.neighbours.includes(other)) return;
    this.#loseAtBothEnds(node, other);
    this.#setting.timeline.later(downMs, () => this.connect(node, other));
  }

  /** The node has nothing to do with these any more. */
  bar(node: SimNode, barred: ReadonlySet<number>): void {
    for (const other of [...node.neighbours]) if (barred.has(other.index)) this.#loseAtBothEnds(node, other);
  }

  /** The node takes back everything it said it has. */
  withdraw(node: SimNode): void {
    node.fresh = [];
    for (const other of node.neighbours) {
      this.#setting.laterFor(other, this.#setting.latencyMs(node, other), () => {
        this.#ears.tell(other, { type: 'peer-gone', peer: node.id });
      });
    }
  }

  /** The node is dead; each neighbour sees so after up to `noticeMs`. */
  died(node: SimNode, noticeMs: number): void {
    for (const other of node.neighbours) {
      this.#setting.laterFor(other, this.#random() * noticeMs, () => {
        // It may be back by then, with a new connection.
        if (!node.neighbours.includes(other)) this.lose(other, node);
      });
    }
    node.neighbours.splice(0);
    node.fresh = [];
    node.freshWindowOpen = false;
    node.dialling.clear();
    node.dialQueue = [];
    node.dialledAtMs.clear();
    node.dialFailures.clear();
  }
}

function mapOf(node: SimNode): PieceMap {
  const { copies } = node;
  const map = PieceMap.empty(copies.length);
  for (let index = 0; index < copies.length; index++) if (copies[index] !== 0) map.add(index);
  return map;
}
