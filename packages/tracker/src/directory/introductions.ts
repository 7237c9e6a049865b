/**
 * Who is told of whom. An agent keeps its neighbours from one answer to the next and from one blob to the next, so the
 * blobs of an image share one sample, and pulling it takes no more connections than pulling one blob.
 *
 * Among random candidates those with the fewest links are preferred. So every agent has about as many connections as
 * any other: nearly a random regular graph, in which a piece reaches everybody within a few hops and nobody's upload
 * is asked for more than its share.
 */
import type { Random } from '@shoal/swarm';
import type { AgentsByZone, KnownAgent, Swarm } from './swarm.ts';

/** This part of a sample, at least, comes from other zones, so that no zone becomes an island. */
const ACROSS_SHARE = 1 / 4;
/** As many of a sample, at least, hold the whole blob, if anybody does to whom more may be sent. */
const COMPLETE_PEERS = 2;
/** Candidates looked at for one place in a sample. */
const CHOICES = 2;
/**
 * At most so many samples' worth of agents are sent to one member for one blob within a few seconds, however small its
 * zone and however few hold the blob: a crowd gets it from each other.
 */
const MAX_SENT_SAMPLES = 2;
/** Neighbours are renewed at most this often, and then one in so many: some may be out of reach. */
const RENEW_EVERY_MS = 5_000;
const RENEWED_SHARE = 1 / 8;

export interface IntroductionsOptions {
  /** Most agents told of per blob. */
  sampleSize: number;
  /** Most agents told of in one answer; also the most neighbours remembered of one agent. */
  maxPeers: number;
}

export interface IntroductionsDependencies {
  random: Random;
  /** Whether others must not hear of this agent. */
  isShunned: (peerId: string) => boolean;
}

/** Indexes into `peers`, for each swarm in the order asked. */
export interface Sample {
  peers: KnownAgent[];
  bySwarm: number[][];
}

export class Introductions {
  readonly #options: IntroductionsOptions;
  readonly #random: Random;
  readonly #isShunned: (peerId: string) => boolean;

  constructor(options: IntroductionsOptions, dependencies: IntroductionsDependencies) {
    this.#options = options;
    this.#random = dependencies.random;
    this.#isShunned = dependencies.isShunned;
  }

  /** Drops the neighbours that are of no use any more, and now and then a few others. */
  renew(agent: KnownAgent, nowMs: number): void {
    const isDue = nowMs - agent.renewedAtMs >= RENEW_EVERY_MS;
    if (isDue) agent.renewedAtMs = nowMs;
    this.#keep(agent, (neighbour) => {
      if (neighbour.gone || this.#isShunned(neighbour.peerId)) return false;
      if (agent.wants.size === 0) return false;
      if (!isDue) return true;
      for (const swarm of agent.wants) if (neighbour.entries.has(swarm)) return this.#random() >= RENEWED_SHARE;
      return false;
    });
  }

  introduce(asker: KnownAgent, swarms: readonly Swarm[], nowMs: number): Sample {
    const { maxPeers } = this.#options;
    const isAcceptable = (agent: KnownAgent): boolean => this.#isAcceptable(asker, agent);
    const sampling = new Sampling(asker, nowMs, this.#options, { random: this.#random, isAcceptable });
    const bySwarm = new Map<Swarm, number[]>();
    // The smallest first: its members are the hardest to find, and most of them are in the larger ones, too.
    const inTurn = [...swarms].sort((one, other) => one.size - other.size);
    for (const [index, swarm] of inTurn.entries()) {
      const share = Math.ceil((maxPeers - sampling.peers.length) / (inTurn.length - index));
      bySwarm.set(swarm, sampling.of(swarm, share));
    }
    for (const agent of sampling.peers) this.#link(asker, agent);
    return { peers: sampling.peers, bySwarm: swarms.map((swarm) => bySwarm.get(swarm) ?? []) };
  }

  /** Some of all agents. Nothing is remembered of it. */
  acquaint(asker: KnownAgent, everybody: AgentsByZone, count: number): KnownAgent[] {
    const isAcceptable = (agent: KnownAgent): boolean => this.#isAcceptable(asker, agent);
    const choose = (side: 'near' | 'across'): KnownAgent[] =>
      fewestLinks(everybody[side](asker.zone, this.#random, false), count, isAcceptable);
    const [near, across] = [choose('near'), choose('across')];
    const fromAcross = Math.max(Math.floor(count * ACROSS_SHARE), count - near.length);
    return [...across.slice(0, fromAcross), ...near].slice(0, count);
  }

  /** Those of the agents that hold or read this blob to which one more may be sent. */
  send(asker: KnownAgent, swarm: Swarm, agents: readonly KnownAgent[], nowMs: number): KnownAgent[] {
    return agents.filter((agent) => {
      if (!this.#isAcceptable(asker, agent)) return false;
      if (asker.neighbours.includes(agent)) return true;
      if (!swarm.isFree(agent, maxSent(this.#options), nowMs)) return false;
      swarm.countSent(agent, nowMs);
      this.#link(asker, agent);
      return true;
    });
  }

  /** Up to `count` of the agents drawn that others may hear of, those with fewer links before those with more. */
  choose(drawn: Iterable<KnownAgent>, asker: KnownAgent, count: number): KnownAgent[] {
    return fewestLinks(drawn, count, (agent) => this.#isAcceptable(asker, agent));
  }

  /** The agent is not in the directory any more. */
  forget(agent: KnownAgent): void {
    agent.gone = true;
    this.#keep(agent, () => false);
  }

  #isAcceptable(asker: KnownAgent, agent: KnownAgent): boolean {
    return agent !== asker && !agent.gone && !this.#isShunned(agent.peerId);
  }

  #link(asker: KnownAgent, agent: KnownAgent): void {
    if (asker.gone || asker.neighbours.length >= this.#options.maxPeers || asker.neighbours.includes(agent)) return;
    asker.neighbours.push(agent);
    agent.named++;
  }

  #keep(agent: KnownAgent, accept: (neighbour: KnownAgent) => boolean): void {
    if (agent.neighbours.length === 0) return;
    agent.neighbours = agent.neighbours.filter((neighbour) => {
      const kept = accept(neighbour);
      if (!kept) neighbour.named--;
      return kept;
    });
  }
}

/** One answer in the making. */
class Sampling {
  readonly peers: KnownAgent[] = [];
  readonly #asker: KnownAgent;
  readonly #nowMs: number;
  readonly #options: IntroductionsOptions;
  readonly #random: Random;
  readonly #isAcceptable: (agent: KnownAgent) => boolean;
  readonly #indexes = new Map<KnownAgent, number>();

  constructor(
    asker: KnownAgent,
    nowMs: number,
    options: IntroductionsOptions,
    dependencies: { random: Random; isAcceptable: (agent: KnownAgent) => boolean },
  ) {
    this.#asker = asker;
    this.#nowMs = nowMs;
    this.#options = options;
    this.#random = dependencies.random;
    this.#isAcceptable = dependencies.isAcceptable;
  }

  /**
   * Those told of already and the asker's neighbours first, then others: some that hold the whole blob, most of the
   * asker's zone, a few across; either side fills up what the other cannot give.
   * @param maxNew how many others may be added to the answer for this swarm
   */
  of(swarm: Swarm, maxNew: number): number[] {
    const { zone, neighbours } = this.#asker;
    const { sampleSize } = this.#options;
    const mates: number[] = [];
    let complete = 0;
    let far = 0;
    const take = (agent: KnownAgent): void => {
      const index = this.#indexOf(agent);
      if (index === undefined) return;
      mates.push(index);
      if (agent.zone !== zone) far++;
      if (!agent.wants.has(swarm)) complete++;
    };
    const takeMates = (agents: readonly KnownAgent[]): void => {
      for (const agent of agents) {
        if (mates.length >= sampleSize) return;
        if (agent.entries.has(swarm)) take(agent);
      }
    };
    takeMates(this.peers);
    takeMates(neighbours.filter((agent) => !this.#indexes.has(agent)));

    const end = this.peers.length + maxNew;
    const room = (): number => Math.min(sampleSize - mates.length, end - this.peers.length);
    const takeNew = (agents: readonly KnownAgent[]): void => {
      for (const agent of agents) {
        take(agent);
        swarm.countSent(agent, this.#nowMs);
      }
    };
    if (complete < COMPLETE_PEERS && swarm.hasComplete) {
      takeNew(this.#choose(swarm, 'near', true, Math.min(room(), COMPLETE_PEERS - complete)));
      takeNew(this.#choose(swarm, 'across', true, Math.min(room(), COMPLETE_PEERS - complete)));
    }
    const wanted = room();
    if (wanted <= 0) return mates;
    const near = this.#choose(swarm, 'near', false, wanted);
    const farMissing = Math.max(Math.ceil(sampleSize * ACROSS_SHARE) - far, wanted - near.length);
    const across = this.#choose(swarm, 'across', false, Math.min(wanted, farMissing));
    takeNew(near.slice(0, wanted - across.length));
    takeNew(across);
    return mates;
  }

  #choose(swarm: Swarm, side: 'near' | 'across', onlyComplete: boolean, count: number): KnownAgent[] {
    const isNew = (agent: KnownAgent): boolean => !this.#indexes.has(agent) && this.#isAcceptable(agent);
    const chosen = fewestLinks(swarm[side](this.#asker.zone, this.#random, onlyComplete), count, isNew);
    return chosen.filter((agent) => swarm.isFree(agent, maxSent(this.#options), this.#nowMs));
  }

  /** Undefined when the answer is full. */
  #indexOf(agent: KnownAgent): number | undefined {
    const known = this.#indexes.get(agent);
    if (known !== undefined || this.peers.length >= this.#options.maxPeers) return known;
    const index = this.peers.length;
    this.#indexes.set(agent, index);
    this.peers.push(agent);
    return index;
  }
}

/** Looks at up to `CHOICES` candidates for each of `count` places. */
function fewestLinks(drawn: Iterable<KnownAgent>, count: number, accept: (agent: KnownAgent) => boolean): KnownAgent[] {
  if (count <= 0) return [];
  const candidates: KnownAgent[] = [];
  for (const agent of drawn) {
    if (!accept(agent)) continue;
    candidates.push(agent);
    if (candidates.length >= CHOICES * count) break;
  }
  return candidates.sort((one, other) => linksOf(one) - linksOf(other)).slice(0, count);
}

function maxSent({ sampleSize }: IntroductionsOptions): number {
  return MAX_SENT_SAMPLES * sampleSize;
}

function linksOf(agent: KnownAgent): number {
  return agent.named + agent.neighbours.length;
}
