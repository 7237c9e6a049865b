/**
 * Who holds or wants which blob, and where they can be dialled. Soft state in memory: agents repeat themselves, so
 * nothing here is worth a disk. It is told the time and never waits for anything.
 *
 * An agent that says nothing for `ANNOUNCE_TTL_MS` is forgotten with all it announced. Wants must be repeated as often
 * as that; complete blobs, of which there may be many, only every `HAVE_TTL_MS`.
 */
import type { Digest } from '@shoal/oci';
import type { Random } from '@shoal/swarm';
import { ANNOUNCE_TTL_MS, type AnnounceRequest, type PeerRecord } from '@shoal/wire';
import type { Member } from '../members/membership.ts';
import { SwarmMembers } from './swarm-members.ts';

export const HAVE_TTL_MS: number = 10 * 60_000;
const DEFAULT_MAX_AGENTS = 10_000;
const DEFAULT_MAX_BLOBS_PER_AGENT = 65_536;
const DEFAULT_MAX_ENTRIES = 4_000_000;

export interface DirectoryOptions {
  /** @default 10000 */
  maxAgents?: number;
  /** @default 65536 */
  maxBlobsPerAgent?: number;
  /** Pairs of agent and blob. @default 4000000 */
  maxEntries?: number;
}

interface Agent {
  peerId: string;
  zone: string;
  addresses: string[];
  seenAtMs: number;
  sweptAtMs: number;
  /** When each blob was last announced, and how. */
  blobs: Map<Digest, { complete: boolean; atMs: number }>;
}

export class Directory {
  readonly #options: Required<DirectoryOptions>;
  readonly #random: Random;
  /** The longest silent first. */
  readonly #agents = new Map<string, Agent>();
  readonly #swarms = new Map<Digest, SwarmMembers<Agent>>();
  #entries = 0;

  constructor(options: DirectoryOptions, dependencies: { random: Random }) {
    this.#options = {
      maxAgents: DEFAULT_MAX_AGENTS,
      maxBlobsPerAgent: DEFAULT_MAX_BLOBS_PER_AGENT,
      maxEntries: DEFAULT_MAX_ENTRIES,
      ...options,
    };
    this.#random = dependencies.random;
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

  /** Beyond the bounds, what is new is not remembered: the agent still gets samples, others do not hear of it. */
  announce(member: Member, request: AnnounceRequest, nowMs: number): void {
    const agent = this.#agentOf(member, nowMs);
    if (agent === undefined) return;
    agent.addresses = request.addresses;
    for (const digest of request.withdraw) this.#remove(agent, digest);
    for (const { digest, state } of request.blobs) this.#put(agent, digest, state === 'have', nowMs);
    this.#sweep(agent, nowMs);
  }

  /** Up to `count` others in the blob's swarm. */
  sample(digest: Digest, asker: Member, count: number): PeerRecord[] {
    const swarm = this.#swarms.get(digest);
    if (swarm === undefined) return [];
    const others = (agent: Agent): boolean => agent.peerId !== asker.peerId;
    return swarm
      .sample(count, asker.zone, this.#random, others)
      .map((agent) => recordOf(agent, swarm.isComplete(agent)));
  }

  /** Up to `count` others that hold all of the blob. */
  holders(digest: Digest, asker: Member, count: number): PeerRecord[] {
    const others = (agent: Agent): boolean => agent.peerId !== asker.peerId;
    const holders = this.#swarms.get(digest)?.sampleComplete(count, this.#random, others) ?? [];
    return holders.map((agent) => recordOf(agent, true));
  }

  /** Undefined when the agent is not known now. */
  find(peerId: string, digest: Digest): PeerRecord | undefined {
    const agent = this.#agents.get(peerId);
    return agent && recordOf(agent, agent.blobs.get(digest)?.complete ?? false);
  }

  forget(peerId: string): void {
    const agent = this.#agents.get(peerId);
    if (agent === undefined) return;
    for (const digest of [...agent.blobs.keys()]) this.#remove(agent, digest);
    this.#agents.delete(peerId);
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

  #agentOf(member: Member, nowMs: number): Agent | undefined {
    const known = this.#agents.get(member.peerId);
    if (known?.zone === member.zone) {
      known.seenAtMs = nowMs;
      this.#agents.delete(known.peerId);
      this.#agents.set(known.peerId, known);
      return known;
    }
    this.forget(member.peerId);
    if (this.#agents.size >= this.#options.maxAgents) return undefined;
    const agent: Agent = { ...member, addresses: [], seenAtMs: nowMs, sweptAtMs: nowMs, blobs: new Map() };
    this.#agents.set(agent.peerId, agent);
    return agent;
  }

  #put(agent: Agent, digest: Digest, complete: boolean, nowMs: number): void {
    if (!agent.blobs.has(digest)) {
      if (agent.blobs.size >= this.#options.maxBlobsPerAgent || this.#entries >= this.#options.maxEntries) return;
      this.#entries++;
    }
    agent.blobs.set(digest, { complete, atMs: nowMs });
    let swarm = this.#swarms.get(digest);
    if (swarm === undefined) {
      swarm = new SwarmMembers();
      this.#swarms.set(digest, swarm);
    }
    swarm.put(agent, complete);
  }

  #remove(agent: Agent, digest: Digest): void {
    if (!agent.blobs.delete(digest)) return;
    this.#entries--;
    const swarm = this.#swarms.get(digest);
    swarm?.remove(agent);
    if (swarm?.size === 0) this.#swarms.delete(digest);
  }

  /** Drops what this agent has not repeated in time; looked at once per TTL, while it announces something else. */
  #sweep(agent: Agent, nowMs: number): void {
    if (nowMs - agent.sweptAtMs < ANNOUNCE_TTL_MS) return;
    agent.sweptAtMs = nowMs;
    for (const [digest, { complete, atMs }] of agent.blobs) {
      if (nowMs - atMs >= (complete ? HAVE_TTL_MS : ANNOUNCE_TTL_MS)) this.#remove(agent, digest);
    }
  }
}

function recordOf(agent: Agent, complete: boolean): PeerRecord {
  return { peerId: agent.peerId, addresses: agent.addresses, zone: agent.zone, complete };
}
