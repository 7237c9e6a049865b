/**
 * Watches the leases that the real table grants: no two that are alive may let two nodes read one piece from the origin, but
 * for what the table does on purpose: pieces for somebody who starved, and the tail of a slow holder (whose last piece may
 * be read twice).
 */
import type { Setting } from './setting.ts';

interface Granted {
  readonly agent: string;
  readonly from: number;
  to: number;
  next: number;
  bytes: number;
  aliveUntilMs: number;
  readonly starved: boolean;
  shared: boolean;
}

export class LeaseLedger {
  readonly #setting: Setting;
  readonly #ttlMs: number;
  readonly #leases = new Map<string, Granted>();

  constructor(setting: Setting, ttlMs: number) {
    this.#setting = setting;
    this.#ttlMs = ttlMs;
  }

  granted(id: string, agent: string, from: number, to: number, starved: boolean): void {
    const { nowMs } = this.#setting;
    for (const [other, lease] of this.#leases) {
      if (lease.aliveUntilMs <= nowMs) this.#leases.delete(other);
      else if (this.#overlaps(lease, from, to) && !starved && !lease.starved) {
        const what = `[${from}, ${to}) was given to ${agent} while ${lease.agent} reads [${lease.next}, ${lease.to})`;
        this.#setting.violation(`two leases overlap: ${what}`);
      }
    }
    const aliveUntilMs = nowMs + this.#ttlMs;
    this.#leases.set(id, { agent, from, to, next: from, bytes: 0, aliveUntilMs, starved, shared: false });
  }

  renewed(id: string, held: boolean, to: number, { bytes, next }: { bytes: number; next: number }): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    if (!held) {
      this.#leases.delete(id);
      return;
    }
    lease.to = to;
    lease.next = Math.max(lease.next, next);
    if (bytes > lease.bytes) [lease.bytes, lease.aliveUntilMs] = [bytes, this.#setting.nowMs + this.#ttlMs];
  }

  released(id: string): void {
    this.#leases.delete(id);
  }

  forgetAgent(agent: string): void {
    for (const [id, lease] of this.#leases) if (lease.agent === agent) this.#leases.delete(id);
  }

  clear(): void {
    this.#leases.clear();
  }

  /** Whether the run is more than the tail of this lease, which the table may have given away. */
  #overlaps(lease: Granted, from: number, to: number): boolean {
    if (to <= lease.next || lease.to <= from) return false;
    const isTail = to === lease.to && from > lease.from;
    const isLastAgain = to === lease.to && from === to - 1 && !lease.shared;
    if (isTail && from > lease.next) lease.to = from;
    else if (isLastAgain) lease.shared = true;
    else return true;
    return false;
  }
}
