/** Agents zone by zone: those that hold or want one blob, or all of them. */
import type { BlobId } from '@shoal/oci';
import type { Random } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import { MarkedList, type Placed } from './marked-list.ts';

const STRETCH_MS = 10_000;

/** An agent that announced itself lately. */
export interface KnownAgent {
  readonly peerId: string;
  readonly zone: string;
  /** What others are told of it. */
  record: PeerRecord;
  seenAtMs: number;
  sweptAtMs: number;
  readonly entries: Map<Swarm, SwarmEntry>;
  /** Those of its swarms whose blob it does not have yet. */
  readonly wants: Set<Swarm>;
  /** Agents that it was told of and may still be connected to. */
  neighbours: KnownAgent[];
  /** How many agents have it as a neighbour. */
  named: number;
  renewedAtMs: number;
  /** Its place among all agents. */
  place: SwarmEntry | undefined;
  /** Not in the directory (any more). */
  gone: boolean;
  /** What people call it. */
  name: string | undefined;
  takesOrders: boolean;
}

/** An agent's place in a swarm. */
export interface SwarmEntry extends Placed {
  readonly agent: KnownAgent;
  readonly group: ZoneGroup;
  /** When the agent last said so. */
  saidAtMs: number;
  /** How many agents were sent to it for this blob in that stretch of time. */
  sent: number;
  sentIn: number;
}

/** The members of one zone; those that hold the whole blob are marked. */
interface ZoneGroup extends Placed {
  readonly zone: string;
  readonly members: MarkedList<SwarmEntry>;
}

/** Those that hold the whole of what the agents are here for are marked. */
export class AgentsByZone {
  readonly #zones = new Map<string, ZoneGroup>();
  /** Those with a member that holds the whole blob are marked. */
  readonly #groups = new MarkedList<ZoneGroup>();
  #size = 0;
  #complete = 0;

  get size(): number {
    return this.#size;
  }

  /** How many do not hold the whole blob. */
  get wanting(): number {
    return this.#size - this.#complete;
  }

  /** Whether somebody holds the whole blob. */
  get hasComplete(): boolean {
    return this.#groups.markedSize > 0;
  }

  /** The agent must not be in this swarm yet. */
  add(agent: KnownAgent, nowMs: number): SwarmEntry {
    let group = this.#zones.get(agent.zone);
    if (group === undefined) {
      group = { zone: agent.zone, members: new MarkedList(), at: 0 };
      this.#zones.set(agent.zone, group);
      this.#groups.add(group);
    }
    const entry = { agent, group, at: 0, saidAtMs: nowMs, sent: 0, sentIn: 0 };
    group.members.add(entry);
    this.#size++;
    return entry;
  }

  setComplete(entry: SwarmEntry, complete: boolean): void {
    const { group } = entry;
    if (group.members.isMarked(entry) !== complete) this.#complete += complete ? 1 : -1;
    group.members.mark(entry, complete);
    this.#groups.mark(group, group.members.markedSize > 0);
  }

  remove(entry: SwarmEntry): void {
    this.setComplete(entry, false);
    const { group } = entry;
    group.members.delete(entry);
    this.#size--;
    if (group.members.size > 0) return;
    this.#groups.delete(group);
    this.#zones.delete(group.zone);
  }

  /** All members, zone by zone, or only those that hold the whole blob. */
  *members(onlyComplete: boolean): Generator<KnownAgent> {
    for (const group of this.#groups.all(onlyComplete)) {
      for (const { agent } of group.members.all(onlyComplete)) yield agent;
    }
  }

  /** The members of this zone in random order, or only those that hold the whole blob. */
  *near(zone: string, random: Random, onlyComplete: boolean): Generator<KnownAgent> {
    const group = this.#zones.get(zone);
    if (group === undefined) return;
    for (const { agent } of group.members.draw(random, onlyComplete)) yield agent;
  }

  /** The members of all other zones in random order, one zone after the other in turn. */
  *across(zone: string, random: Random, onlyComplete: boolean): Generator<KnownAgent> {
    const turns: Generator<SwarmEntry>[] = [];
    for (const group of this.#groups.draw(random, onlyComplete)) {
      if (group.zone === zone) continue;
      const members = group.members.draw(random, onlyComplete);
      const first = members.next();
      if (first.done === true) continue;
      yield first.value.agent;
      turns.push(members);
    }
    for (let left = turns; left.length > 0; ) {
      const goOn: Generator<SwarmEntry>[] = [];
      for (const members of left) {
        const next = members.next();
        if (next.done === true) continue;
        yield next.value.agent;
        goOn.push(members);
      }
      left = goOn;
    }
  }
}

/** The agents that hold or want one blob. */
export class Swarm extends AgentsByZone {
  readonly blob: BlobId;

  constructor(blob: BlobId) {
    super();
    this.blob = blob;
  }

  /** Whether fewer than `most` agents were sent to this member for this blob in this stretch of time. */
  isFree(agent: KnownAgent, most: number, nowMs: number): boolean {
    const entry = agent.entries.get(this);
    return entry === undefined || entry.sentIn !== stretchOf(nowMs) || entry.sent < most;
  }

  /** One more agent is sent to this member. */
  countSent(agent: KnownAgent, nowMs: number): void {
    const entry = agent.entries.get(this);
    if (entry === undefined) return;
    const stretch = stretchOf(nowMs);
    entry.sent = entry.sentIn === stretch ? entry.sent + 1 : 1;
    entry.sentIn = stretch;
  }
}

function stretchOf(nowMs: number): number {
  return Math.floor(nowMs / STRETCH_MS);
}
