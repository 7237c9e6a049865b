import type { Random } from '@shoal/swarm';
import { RandomList } from './random-list.ts';

/** What sampling needs to know of an agent. */
export interface Located {
  zone: string;
}

/** This part of a sample, at least, comes from other zones, so that no zone becomes an island. */
const ACROSS_SHARE = 1 / 4;

/** The agents that hold or want one blob. */
export class SwarmMembers<M extends Located> {
  readonly #zones = new Map<string, RandomList<M>>();
  readonly #complete = new RandomList<M>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  isComplete(member: M): boolean {
    return this.#complete.has(member);
  }

  put(member: M, complete: boolean): void {
    let list = this.#zones.get(member.zone);
    if (list === undefined) {
      list = new RandomList();
      this.#zones.set(member.zone, list);
    }
    if (!list.has(member)) this.#size++;
    list.add(member);
    if (complete) this.#complete.add(member);
    else this.#complete.delete(member);
  }

  remove(member: M): void {
    const list = this.#zones.get(member.zone);
    if (list === undefined || !list.has(member)) return;
    list.delete(member);
    if (list.size === 0) this.#zones.delete(member.zone);
    this.#complete.delete(member);
    this.#size--;
  }

  sampleComplete(count: number, random: Random, accept: (member: M) => boolean): M[] {
    return this.#complete.sample(count, random, accept);
  }

  /** Mostly from `zone`, a few across; either side fills up what the other cannot give. */
  sample(count: number, zone: string, random: Random, accept: (member: M) => boolean): M[] {
    const near = this.#zones.get(zone)?.sample(count, random, accept) ?? [];
    const far = this.#sampleAcross(count, zone, random, accept);
    const farCount = Math.min(far.length, Math.max(Math.ceil(count * ACROSS_SHARE), count - near.length));
    return [...near.slice(0, count - farCount), ...far.slice(0, farCount)];
  }

  /** Spread over the other zones as evenly as one round over them gives; a second round fills up. */
  #sampleAcross(count: number, zone: string, random: Random, accept: (member: M) => boolean): M[] {
    const others = [...this.#zones].filter(([name]) => name !== zone).map(([, list]) => list);
    const start = Math.floor(random() * others.length);
    const inTurn = [...others.slice(start), ...others.slice(0, start)];
    const chosen = new Set<M>();
    for (const quota of [Math.ceil(count / others.length), count]) {
      for (const list of inTurn) {
        const wanted = Math.min(quota, count - chosen.size);
        if (wanted <= 0) return [...chosen];
        for (const member of list.sample(wanted, random, (each) => !chosen.has(each) && accept(each))) {
          chosen.add(member);
        }
      }
    }
    return [...chosen];
  }
}
