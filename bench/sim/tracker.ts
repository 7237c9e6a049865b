/**
 * The tracker: the real lease table, dispute table and directory, behind calls that take time, wait in line, and get no
 * answer while it is down. Follows `origin-leases.ts`, `disputes.ts` and `start-tracker.ts` of the tracker.
 */
import { DisputeTable, type LeaseProgress, type LeaseReply, LeaseTable, type ReleaseHow } from '@shoal/swarm';
import { LEASE_TTL_MS } from '@shoal/wire';
import { Directory } from '../../packages/tracker/src/directory/directory.ts';
import { LeaseLedger } from './lease-ledger.ts';
import type { SimNode } from './node.ts';
import type { Setting } from './setting.ts';

// As in the tracker.
const MAX_HOLDERS = 8;
const RETRY_SUSPENDED_MS = 2_000;
const EXPIRE_EVERY_MS = 1_000;
const MAX_TOLD = 64;
/** What an agent waits for an answer. */
const DEADLINE_MS = 3_000;
const REGISTRY = 'registry.example';

export type LeaseAnswer = { peers: SimNode[]; witness: { index: number } | undefined } & (
  | { granted: true; leaseId: string; from: number; to: number; source: 'origin' | 'zone' }
  | { granted: false; retryAfterMs: number }
);

export interface TrackerEars {
  /** Whom everybody should avoid, as the tracker said in an answer to this node. */
  heard(node: SimNode, avoided: ReadonlySet<number>): void;
  /** A call of this node got no answer. */
  unanswered(node: SimNode): void;
}

export interface LeaseWish {
  starved: boolean;
  piece: number | undefined;
  avoid: readonly string[];
  silent: readonly string[];
}

const NOBODY: ReadonlySet<number> = new Set();

export class Tracker {
  /** For good. */
  readonly barred = new Set<string>();
  readonly #setting: Setting;
  readonly #ears: TrackerEars;
  readonly #ledger: LeaseLedger;
  readonly #random: () => number;
  #leases: LeaseTable;
  #disputes: DisputeTable;
  #directory: Directory;
  #avoided: ReadonlySet<number> = NOBODY;
  #suspended = new Set<string>();
  #busyUntilMs = 0;
  #leaseIds = 0;
  #second = 0;
  #asksInSecond = 0;

  constructor(setting: Setting, ears: TrackerEars) {
    this.#setting = setting;
    this.#ears = ears;
    this.#random = setting.randomFor(5);
    this.#ledger = new LeaseLedger(setting, LEASE_TTL_MS);
    this.#leases = this.#newLeases();
    this.#disputes = new DisputeTable();
    this.#directory = this.#newDirectory();
    const { exists, outages } = setting.plan.tracker;
    if (!exists) return;
    this.#expireSoon();
    for (const { toMs, losesState } of outages) if (losesState) setting.timeline.later(toMs, () => this.#startAnew());
  }

  get isUp(): boolean {
    const { plan, nowMs } = this.#setting;
    return plan.tracker.exists && !plan.tracker.outages.some(({ fromMs, toMs }) => fromMs <= nowMs && nowMs < toMs);
  }

  /** Tells what the node wants or holds; the answer names others, or is undefined. Also asked of a tracker that was down. */
  announce(node: SimNode, then: (found: SimNode[] | undefined) => void): void {
    const { blob, plan } = this.#setting;
    const state = node.state === 'complete' ? 'have' : 'want';
    const blobs = node.active || state === 'have' ? [{ blob, state } as const] : [];
    this.#visit(node, plan.tracker.announceMs, then, () => {
      const member = memberOf(node);
      this.#directory.announce(member, { addresses: [], blobs, withdraw: [] }, this.#setting.nowMs);
      if (blobs.length === 0 || state === 'have') return [];
      const { peers, swarms } = this.#directory.introduce(member, [blob], this.#setting.nowMs);
      return (swarms[0]?.peers ?? []).flatMap((index) => this.#nodesOf([peers[index]?.peerId ?? '']));
    });
  }

  lease(node: SimNode, wish: LeaseWish, then: (answer: LeaseAnswer | undefined) => void): void {
    this.#call(node, this.#setting.plan.tracker.leaseMs, then, () => this.#answerLease(node, wish));
  }

  /** Whether the node is the one that audits; undefined without an answer. */
  audit(
    node: SimNode,
    then: (answer: { granted: boolean; witness: { index: number } | undefined } | undefined) => void,
  ): void {
    this.#call(node, this.#setting.plan.tracker.leaseMs, then, () => {
      const { blob, nowMs } = this.#setting;
      if (this.#isSuspended(node)) return { granted: false, witness: undefined };
      const witness = this.#witnessFor(node);
      return { granted: this.#leases.audit(blob, node.id, nowMs), witness };
    });
  }

  renew(
    node: SimNode,
    leaseId: string,
    progress: LeaseProgress,
    then: (answer: { held: boolean; to: number } | undefined) => void,
  ): void {
    this.#call(node, this.#setting.plan.tracker.leaseMs, then, () => {
      const answer = this.#leases.renew(leaseId, node.id, progress, this.#setting.nowMs);
      this.#ledger.renewed(leaseId, answer.held, answer.to, progress);
      return answer;
    });
  }

  release(node: SimNode, leaseId: string, how: ReleaseHow, next: number): void {
    if (!node.trackerUp) return;
    const { timeline, plan } = this.#setting;
    timeline.later(plan.trackerLatencyMs, () => {
      if (!this.isUp) return;
      this.#leases.release(leaseId, node.id, { how, next }, this.#setting.nowMs);
      this.#ledger.released(leaseId);
    });
  }

  /** @param accusation undefined: the node says as a witness what the piece is */
  report(
    node: SimNode,
    index: number,
    says: string,
    accusation: { accused: SimNode; claimed: string } | undefined,
  ): void {
    this.#call(
      node,
      this.#setting.plan.tracker.leaseMs,
      () => undefined,
      () => {
        const { blob, plan, nowMs } = this.#setting;
        const said = { blob, index, by: node.id, says };
        const verdict =
          accusation === undefined
            ? this.#disputes.testify(said, this.#directory.countOthers(node.id), nowMs)
            : this.#disputes.report(
                { ...said, sizeBytes: plan.blobBytes, accused: accusation.accused.id, claimed: accusation.claimed },
                this.#directory.countOthers(accusation.accused.id),
                nowMs,
              );
        for (const peerId of verdict?.barred ?? []) this.#bar(peerId);
        this.#lookAtDisputes();
        return true;
      },
    );
  }

  // What it answers.

  #answerLease(node: SimNode, { starved, piece, avoid, silent }: LeaseWish): LeaseAnswer {
    this.#countAsk();
    if (this.#isSuspended(node)) {
      return { granted: false, retryAfterMs: RETRY_SUSPENDED_MS, peers: [], witness: undefined };
    }
    const { blob, plan, nowMs } = this.#setting;
    const witness = this.#witnessFor(node);
    const member = memberOf(node);
    const complete = this.#directory.holders(blob, member, MAX_HOLDERS);
    const asker = { blob, agent: node.id, zone: node.zoneName, registry: REGISTRY, sizeBytes: plan.blobBytes };
    const others = this.#directory.isWantedByOthers(blob, member);
    const ask = { ...asker, starved, avoid, silent, others, complete, ...(piece !== undefined && { piece }) };
    const reply: LeaseReply = this.#leases.request(ask, nowMs);
    if (!reply.granted) {
      const worth = new Set([...reply.holders, ...complete.sameZone, ...complete.otherZones]);
      const sent = this.#directory.send(member, blob, [...worth], nowMs).map(({ peerId }) => peerId);
      return { granted: false, retryAfterMs: reply.retryAfterMs, peers: this.#nodesOf(sent), witness };
    }
    const { leaseId, from, to, source, holders } = reply;
    if (source === 'origin' && plan.origin.ranges) this.#ledger.granted(leaseId, node.id, from, to, starved);
    const peers = this.#nodesOf(this.#directory.find(holders).map(({ peerId }) => peerId));
    return { granted: true, leaseId, from, to, source, peers, witness };
  }

  #witnessFor(node: SimNode): { index: number } | undefined {
    const { blob, nowMs } = this.#setting;
    return this.#disputes.size === 0 ? undefined : this.#disputes.witnessFor(blob, node.id, nowMs);
  }

  #isSuspended(node: SimNode): boolean {
    this.#lookAtDisputes();
    return this.#suspended.has(node.id);
  }

  #bar(peerId: string): void {
    this.barred.add(peerId);
    this.#directory.forget(peerId);
    this.#leases.forgetAgent(peerId);
    this.#ledger.forgetAgent(peerId);
  }

  #lookAtDisputes(): void {
    if (this.#disputes.size === 0 && this.#suspended.size === 0 && this.#avoided.size === this.barred.size) return;
    const suspended = this.#disputes.suspended(this.#setting.nowMs).filter((peerId) => !this.barred.has(peerId));
    this.#suspended = new Set(suspended);
    const avoided = [...suspended.slice(0, MAX_TOLD), ...[...this.barred].slice(-MAX_TOLD)];
    const indexes = this.#nodesOf(avoided).map(({ index }) => index);
    const isSame = indexes.length === this.#avoided.size && indexes.every((index) => this.#avoided.has(index));
    if (!isSame) this.#avoided = new Set(indexes);
  }

  #nodesOf(peerIds: readonly string[]): SimNode[] {
    return peerIds.flatMap((peerId) => this.#setting.byId.get(peerId) ?? []);
  }

  #countAsk(): void {
    const second = Math.floor(this.#setting.nowMs / 1_000);
    if (second !== this.#second) [this.#second, this.#asksInSecond] = [second, 0];
    this.#asksInSecond++;
    const { tally } = this.#setting;
    tally.leaseAsks++;
    tally.leaseAsksPerSecondPeak = Math.max(tally.leaseAsksPerSecondPeak, this.#asksInSecond);
  }

  // How it is reached.

  /** Gives undefined at once while the node takes the tracker for down. */
  #call<T>(node: SimNode, costMs: number, then: (answer: T | undefined) => void, answer: () => T): void {
    if (!node.trackerUp) {
      this.#setting.laterFor(node, 0, () => then(undefined));
      return;
    }
    const heard = (result: T | undefined): void => {
      if (result === undefined) this.#ears.unanswered(node);
      then(result);
    };
    this.#visit(node, costMs, heard, answer);
  }

  #visit<T>(node: SimNode, costMs: number, then: (answer: T | undefined) => void, answer: () => T): void {
    const { timeline, plan } = this.#setting;
    let isOpen = true;
    const settle = (result: T | undefined): void => {
      if (!isOpen) return;
      isOpen = false;
      then(result);
    };
    this.#setting.laterFor(node, DEADLINE_MS, () => settle(undefined));
    const inTurn = (): void => {
      if (!this.isUp || this.barred.has(node.id)) return;
      const result = answer();
      this.#lookAtDisputes();
      const avoided = this.#avoided;
      this.#setting.laterFor(node, plan.trackerLatencyMs, () => {
        if (isOpen) this.#ears.heard(node, avoided);
        settle(result);
      });
    };
    timeline.later(plan.trackerLatencyMs, () => {
      if (!this.isUp) return;
      this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#setting.nowMs) + costMs;
      timeline.later(this.#busyUntilMs - this.#setting.nowMs, inTurn);
    });
  }

  #expireSoon(): void {
    this.#setting.timeline.later(EXPIRE_EVERY_MS, () => {
      const { nowMs } = this.#setting;
      this.#leases.expire(nowMs);
      for (const peerId of this.#directory.expire(nowMs)) {
        this.#leases.forgetAgent(peerId);
        this.#ledger.forgetAgent(peerId);
      }
      this.#lookAtDisputes();
      this.#expireSoon();
    });
  }

  #startAnew(): void {
    this.#leases = this.#newLeases();
    this.#disputes = new DisputeTable();
    this.#directory = this.#newDirectory();
    this.#ledger.clear();
    this.#busyUntilMs = 0;
  }

  #newLeases(): LeaseTable {
    return new LeaseTable({ leaseTtlMs: LEASE_TTL_MS }, { newLeaseId: () => `lease-${++this.#leaseIds}` });
  }

  #newDirectory(): Directory {
    const isShunned = (peerId: string): boolean => this.#suspended.has(peerId) || this.barred.has(peerId);
    return new Directory({ sampleSize: this.#setting.plan.sampleSize }, { random: this.#random, isShunned });
  }
}

function memberOf(node: SimNode): { peerId: string; zone: string } {
  return { peerId: node.id, zone: node.zoneName };
}
