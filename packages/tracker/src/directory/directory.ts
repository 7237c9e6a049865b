/**
 * Who holds or wants which blob, and where they can be dialled. Soft state in memory: agents repeat themselves, so
 * nothing here is worth a disk. It is told the time and never waits for anything.
 *
 * An agent that says nothing for `ANNOUNCE_TTL_MS` is forgotten with all it announced. Wants must be repeated as often
 * as that; complete blobs, of which there may be many, only every `HAVE_TTL_MS`.
 */
import type { BlobId } from '@shoal/oci';
import type { Random } from '@shoal/swarm';
import {
  ANNOUNCE_TTL_MS,
  type AnnounceAnswer,
  type AnnounceRequest,
  MAX_ANSWERED_PEERS,
  type PeerRecord,
} from '@shoal/wire';
import type { Member } from '../members/membership.ts';
import { Introductions } from './introductions.ts';
import { AgentsByZone, type KnownAgent, Swarm } from './swarm.ts';

export const HAVE_TTL_MS: number = 10 * 60_000;
const DEFAULT_MAX_AGENTS = 50_000;
const DEFAULT_MAX_BLOBS_PER_AGENT = 65_536;
const DEFAULT_MAX_ENTRIES = 4_000_000;

export interface DirectoryOptions {
  /** Most peers told of per blob. */
  sampleSize: number;
  /** @default 50000 */
  maxAgents?: number;
  /** @default 65536 */
  maxBlobsPerAgent?: number;
  /** Pairs of agent and blob. @default 4000000 */
  maxEntries?: number;
}

export interface DirectoryDependencies {
  random: Random;
  /** Whether others must not hear of this agent. */
  isShunned: (peerId: string) => boolean;
}

/** An agent, as people are told of it. */
export type SeenAgent = Pick<KnownAgent, 'peerId' | 'zone' | 'name' | 'seenAtMs'>;

export class Directory {
  readonly #options: Required<DirectoryOptions>;
  readonly #random: Random;
  readonly #isShunned: (peerId: string) => boolean;
  readonly #introductions: Introductions;
  /** The longest silent first. */
  readonly #agents = new Map<string, KnownAgent>();
  readonly #swarms = new Map<BlobId, Swarm>();
  readonly #everybody = new AgentsByZone();
  #entries = 0;

  constructor(options: DirectoryOptions, dependencies: DirectoryDependencies) {
    this.#options = {
      maxAgents: DEFAULT_MAX_AGENTS,
      maxBlobsPerAgent: DEFAULT_MAX_BLOBS_PER_AGENT,
      maxEntries: DEFAULT_MAX_ENTRIES,
      ...options,
    };
    this.#random = dependencies.random;
    this.#isShunned = dependencies.isShunned;
    this.#introductions = new Introductions({ ...options, maxPeers: MAX_ANSWERED_PEERS }, dependencies);
  }

  get agentCount(): number {
    return this.#agents.size;
  }

  get swarmCount(): number {
    return this.#swarms.size;
  }

  get entryCount(): number {
    return this.#entries;
  }

  /** Those that are there now. */
  agents(): Iterable<SeenAgent & Pick<KnownAgent, 'takesOrders'>> {
    return this.#agents.values();
  }

  agent(peerId: string): SeenAgent | undefined {
    return this.#agents.get(peerId);
  }

  /** Every blob that somebody holds or wants. */
  blobs(): Iterable<BlobId> {
    return this.#swarms.keys();
  }

  /** What this agent said last of the blob. */
  stateOf(peerId: string, blob: BlobId): 'have' | 'want' | undefined {
    const swarm = this.#swarms.get(blob);
    const agent = this.#agents.get(peerId);
    if (swarm === undefined || agent?.entries.has(swarm) !== true) return undefined;
    return agent.wants.has(swarm) ? 'want' : 'have';
  }

  /** How many hold all of the blob, and how many want it. */
  countsOf(blob: BlobId): { holding: number; wanting: number } {
    const { size = 0, wanting = 0 } = this.#swarms.get(blob) ?? {};
    return { holding: size - wanting, wanting };
  }

  /** Up to `most` of those that hold or want the blob, or only of those that hold it. */
  some(blob: BlobId, most: number, onlyHolders: boolean): SeenAgent[] {
    const swarm = this.#swarms.get(blob);
    return swarm === undefined ? [] : swarm.members(onlyHolders).take(most).toArray();
  }

  /** Agents that are there now, besides this one. */
  countOthers(peerId: string): number {
    return this.#agents.size - (this.#agents.has(peerId) ? 1 : 0);
  }

  /** Beyond the bounds, what is new is not remembered: the agent still gets samples, others do not hear of it. */
  announce(member: Member, request: AnnounceRequest, nowMs: number): void {
    const agent = this.#agentOf(member, nowMs);
    if (agent === undefined) return;
    // Kept while it is the same: what a crowd repeats all the time should not become garbage that lived long.
    if (!isSame(agent.record.addresses, request.addresses)) agent.record = recordOf(member, request.addresses);
    agent.name = request.name;
    agent.takesOrders = request.takesOrders ?? false;
    for (const blob of request.withdraw) this.#withdraw(agent, blob);
    for (const { blob, state } of request.blobs) this.#put(agent, blob, state === 'have', nowMs);
    this.#sweep(agent, nowMs);
    this.#introductions.renew(agent, nowMs);
  }

  /** For each of these blobs some others of its swarm, the same ones as far as possible. */
  introduce(member: Member, blobs: readonly BlobId[], nowMs: number): Pick<AnnounceAnswer, 'peers' | 'swarms'> {
    const asked = new Set<Swarm>();
    for (const blob of blobs) {
      const swarm = this.#swarms.get(blob);
      if (swarm !== undefined) asked.add(swarm);
    }
    const swarms = [...asked];
    const { peers, bySwarm } = this.#introductions.introduce(this.#askerOf(member), swarms, nowMs);
    return {
      peers: peers.map(({ record }) => record),
      swarms: swarms.map(({ blob }, index) => ({ blob, peers: bySwarm[index] ?? [] })),
    };
  }

  /** Some of the others, whatever they hold; most of the same zone. */
  acquaint(member: Member, count: number): PeerRecord[] {
    return this.#introductions.acquaint(this.#askerOf(member), this.#everybody, count).map(({ record }) => record);
  }

  /** Some of the others that hold all of the blob: up to `count` of the same zone and as many of others. */
  holders(blob: BlobId, member: Member, count: number): { sameZone: string[]; otherZones: string[] } {
    const swarm = this.#swarms.get(blob);
    if (swarm?.hasComplete !== true) return { sameZone: [], otherZones: [] };
    const asker = this.#askerOf(member);
    const choose = (drawn: Iterable<KnownAgent>): string[] =>
      this.#introductions.choose(drawn, asker, count).map(({ peerId }) => peerId);
    return {
      sameZone: choose(swarm.near(member.zone, this.#random, true)),
      otherZones: choose(swarm.across(member.zone, this.#random, true)),
    };
  }

  /** Whether somebody besides this member wants the blob. */
  isWantedByOthers(blob: BlobId, { peerId }: Member): boolean {
    const swarm = this.#swarms.get(blob);
    if (swarm === undefined) return false;
    const own = this.#agents.get(peerId)?.wants.has(swarm) === true ? 1 : 0;
    return swarm.wanting > own;
  }

  /** Where these agents can be dialled, as far as they are known now and others may hear of them. */
  find(peerIds: readonly string[]): PeerRecord[] {
    const told = this.#known(peerIds).filter(({ peerId }) => !this.#isShunned(peerId));
    return told.map(({ record }) => record);
  }

  /** As `find`, of members that hold or read this blob, but without those to which a crowd was sent just now. */
  send(member: Member, blob: BlobId, peerIds: readonly string[], nowMs: number): PeerRecord[] {
    const swarm = this.#swarms.get(blob);
    if (swarm === undefined) return this.find(peerIds);
    const told = this.#introductions.send(this.#askerOf(member), swarm, this.#known(peerIds), nowMs);
    return told.map(({ record }) => record);
  }

  forget(peerId: string): void {
    const agent = this.#agents.get(peerId);
    if (agent === undefined) return;
    for (const swarm of [...agent.entries.keys()]) this.#remove(agent, swarm);
    this.#agents.delete(peerId);
    if (agent.place !== undefined) this.#everybody.remove(agent.place);
    this.#introductions.forget(agent);
  }

  /** Forgets the agents that fell silent and returns their PeerIds. */
  expire(nowMs: number): string[] {
    const forgotten: string[] = [];
    for (const agent of this.#agents.values()) {
      if (nowMs - agent.seenAtMs < ANNOUNCE_TTL_MS) break;
      this.forget(agent.peerId);
      forgotten.push(agent.peerId);
    }
    return forgotten;
  }

  #agentOf(member: Member, nowMs: number): KnownAgent | undefined {
    const known = this.#agents.get(member.peerId);
    if (known?.zone === member.zone) {
      known.seenAtMs = nowMs;
      this.#agents.delete(known.peerId);
      this.#agents.set(known.peerId, known);
      return known;
    }
    this.forget(member.peerId);
    if (this.#agents.size >= this.#options.maxAgents) return undefined;
    const agent = newAgent(member, nowMs, false);
    agent.place = this.#everybody.add(agent, nowMs);
    this.#agents.set(agent.peerId, agent);
    return agent;
  }

  /** Somebody who is not in the directory may ask, too; nothing is remembered of it. */
  #askerOf(member: Member): KnownAgent {
    const known = this.#agents.get(member.peerId);
    return known?.zone === member.zone ? known : newAgent(member, 0, true);
  }

  #known(peerIds: readonly string[]): KnownAgent[] {
    return peerIds.flatMap((peerId) => this.#agents.get(peerId) ?? []);
  }

  #put(agent: KnownAgent, blob: BlobId, complete: boolean, nowMs: number): void {
    const known = this.#swarms.get(blob);
    const entry = known && agent.entries.get(known);
    if (known !== undefined && entry !== undefined) {
      entry.saidAtMs = nowMs;
      known.setComplete(entry, complete);
    }
    const { maxBlobsPerAgent, maxEntries } = this.#options;
    if (entry === undefined && (agent.entries.size >= maxBlobsPerAgent || this.#entries >= maxEntries)) return;
    const swarm = known ?? new Swarm(blob);
    if (known === undefined) this.#swarms.set(blob, swarm);
    if (entry === undefined) {
      const added = swarm.add(agent, nowMs);
      swarm.setComplete(added, complete);
      agent.entries.set(swarm, added);
      this.#entries++;
    }
    if (complete) agent.wants.delete(swarm);
    else agent.wants.add(swarm);
  }

  #withdraw(agent: KnownAgent, blob: BlobId): void {
    const swarm = this.#swarms.get(blob);
    if (swarm !== undefined) this.#remove(agent, swarm);
  }

  #remove(agent: KnownAgent, swarm: Swarm): void {
    const entry = agent.entries.get(swarm);
    if (entry === undefined) return;
    agent.entries.delete(swarm);
    agent.wants.delete(swarm);
    this.#entries--;
    swarm.remove(entry);
    if (swarm.size === 0) this.#swarms.delete(swarm.blob);
  }

  /** Drops what this agent has not repeated in time; looked at once per TTL, while it announces something else. */
  #sweep(agent: KnownAgent, nowMs: number): void {
    if (nowMs - agent.sweptAtMs < ANNOUNCE_TTL_MS) return;
    agent.sweptAtMs = nowMs;
    for (const [swarm, entry] of agent.entries) {
      const ttlMs = agent.wants.has(swarm) ? ANNOUNCE_TTL_MS : HAVE_TTL_MS;
      if (nowMs - entry.saidAtMs >= ttlMs) this.#remove(agent, swarm);
    }
  }
}

function newAgent(member: Member, nowMs: number, gone: boolean): KnownAgent {
  return {
    peerId: member.peerId,
    zone: member.zone,
    record: recordOf(member, []),
    seenAtMs: nowMs,
    sweptAtMs: nowMs,
    entries: new Map(),
    wants: new Set(),
    neighbours: [],
    named: 0,
    renewedAtMs: nowMs,
    place: undefined,
    gone,
    name: undefined,
    takesOrders: false,
  };
}

function recordOf({ peerId, zone }: Member, addresses: string[]): PeerRecord {
  return { peerId, addresses, zone };
}

function isSame(known: readonly string[], said: readonly string[]): boolean {
  return known.length === said.length && known.every((address, index) => address === said[index]);
}
