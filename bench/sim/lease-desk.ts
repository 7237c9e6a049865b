/** A node's side of its leases: asks, renews every 500 ms, gives back. Follows `lease-keeper.ts` of the agent. */
import type { ReleaseHow, SwarmAction } from '@shoal/swarm';
import type { HeldRun, SimNode } from './node.ts';
import type { Setting, WorldEars } from './setting.ts';
import type { Tracker } from './tracker.ts';

// As in the agent.
const RENEW_EVERY_MS = 500;

export interface LeaseDeskEars extends WorldEars {
  /** Nodes that have what this one was sent for, or that read it now. */
  seek(node: SimNode, others: readonly SimNode[]): void;
  /** The node should read that piece and say what it is. */
  testify(node: SimNode, index: number): void;
  originBytes(node: SimNode): number;
}

export class LeaseDesk {
  readonly #setting: Setting;
  readonly #ears: LeaseDeskEars;
  readonly #tracker: Tracker;

  constructor(setting: Setting, ears: LeaseDeskEars, tracker: Tracker) {
    this.#setting = setting;
    this.#ears = ears;
    this.#tracker = tracker;
  }

  ask(node: SimNode, { starved, piece, avoid, silent }: Extract<SwarmAction, { type: 'ask-lease' }>): void {
    this.#tracker.lease(node, { starved, piece, avoid, silent }, (answer) => {
      if (!node.active) {
        if (answer?.granted === true) this.#tracker.release(node, answer.leaseId, 'unneeded', answer.from);
        return;
      }
      if (answer === undefined) return this.#ears.tell(node, { type: 'lease-unavailable' });
      this.#ears.seek(node, answer.peers);
      if (answer.witness !== undefined) this.#ears.testify(node, answer.witness.index);
      if (!answer.granted) return this.#ears.tell(node, { type: 'lease-refused', retryAfterMs: answer.retryAfterMs });
      const { leaseId, from, to, source } = answer;
      const bytesBefore = this.#ears.originBytes(node);
      const most = starved ? 3 : 2;
      if (node.leases.size >= most) this.#setting.violation(`${node.id} holds more than ${most} leases`);
      node.leases.set(leaseId, { id: leaseId, source, from, to, bytesBefore, ranges: undefined, renewing: false });
      if (node.leases.size === 1) this.#renewAll(node, ++node.renewals);
      this.#ears.tell(node, { type: 'lease-granted', leaseId, from, to, source });
    });
  }

  release(node: SimNode, leaseId: string, how: ReleaseHow, next: number): void {
    node.leases.delete(leaseId);
    this.#tracker.release(node, leaseId, how, next);
  }

  releaseAll(node: SimNode): void {
    for (const { id, from } of [...node.leases.values()]) {
      this.release(node, id, 'unneeded', node.swarm?.leaseProgress(id)?.next ?? from);
    }
  }

  /** Tells the tracker at once whether the origin honours ranges; `then` when the lease's end is known. */
  rangesKnown(node: SimNode, from: number, honoured: boolean, then: () => void): void {
    for (const lease of node.leases.values()) {
      if (lease.source !== 'origin' || from < lease.from || from >= lease.to) continue;
      lease.ranges = honoured;
      this.#renew(node, lease, then);
      return;
    }
    then();
  }

  #renewAll(node: SimNode, renewals: number): void {
    this.#setting.laterFor(node, RENEW_EVERY_MS, () => {
      if (node.renewals !== renewals || node.leases.size === 0) return;
      for (const lease of node.leases.values()) if (!lease.renewing) this.#renew(node, lease, undefined);
      this.#renewAll(node, renewals);
    });
  }

  #renew(node: SimNode, lease: HeldRun, then: (() => void) | undefined): void {
    const progress = node.swarm?.leaseProgress(lease.id);
    if (progress === undefined) {
      then?.();
      return;
    }
    const { next, held } = progress;
    const { ranges } = lease;
    const bytes = lease.source === 'origin' ? this.#ears.originBytes(node) - lease.bytesBefore : held;
    lease.renewing = true;
    this.#tracker.renew(node, lease.id, { bytes, next, ...(ranges !== undefined && { ranges }) }, (answer) => {
      lease.renewing = false;
      if (answer !== undefined && node.leases.get(lease.id) === lease) {
        if (lease.ranges === ranges) lease.ranges = undefined;
        if (!answer.held) {
          node.leases.delete(lease.id);
          this.#ears.tell(node, { type: 'lease-lost', leaseId: lease.id });
        } else if (answer.to !== lease.to) {
          lease.to = answer.to;
          this.#ears.tell(node, { type: 'lease-changed', leaseId: lease.id, to: answer.to });
        }
      }
      then?.();
    });
  }
}
