/** The leases that one agent holds for one blob: the one it works on and the next, and perhaps one for a starving reader. */
import type { PieceMap } from './piece-map.ts';
import type { LeaseSource } from './swarm-event.ts';

export interface HeldLease {
  /** Undefined when the agent granted it to itself, without a tracker. */
  readonly id: string | undefined;
  readonly source: LeaseSource;
  readonly from: number;
  to: number;
  /** The first piece of it that is not here. */
  next: number;
  /** Read whatever neighbours offer: a reader has waited for it in vain. */
  readonly starved: boolean;
}

const MAX_HELD = 2;
/** What it holds does not help a reader that starves for something else. */
const MAX_HELD_STARVED = 3;

/** Leases of one blob that one agent may hold. */
export function maxHeld(starved: boolean): number {
  return starved ? MAX_HELD_STARVED : MAX_HELD;
}

export class HeldLeases {
  #leases: HeldLease[] = [];

  get all(): readonly HeldLease[] {
    return this.#leases;
  }

  full(starved: boolean): boolean {
    return this.#leases.length >= maxHeld(starved);
  }

  byId(id: string): HeldLease | undefined {
    return this.#leases.find((lease) => lease.id === id);
  }

  /** The lease of this source that covers the piece. */
  covering(index: number, source: LeaseSource): HeldLease | undefined {
    return this.#leases.find((lease) => lease.source === source && lease.from <= index && index < lease.to);
  }

  /** What somebody starves for comes first. */
  add(lease: HeldLease): void {
    if (lease.starved) this.#leases.unshift(lease);
    else this.#leases.push(lease);
  }

  /** This piece is not here any more. */
  lost(index: number): void {
    for (const lease of this.#leases) {
      if (lease.from <= index && index < lease.next) lease.next = index;
    }
  }

  remove(lease: HeldLease): void {
    this.#leases = this.#leases.filter((other) => other !== lease);
  }

  /** Moves each lease's `next` over what is here now and returns the leases that are done. */
  advance(have: PieceMap): HeldLease[] {
    const done: HeldLease[] = [];
    for (const lease of this.#leases) {
      while (lease.next < lease.to && have.has(lease.next)) lease.next++;
      if (lease.next >= lease.to) done.push(lease);
    }
    return done;
  }
}
