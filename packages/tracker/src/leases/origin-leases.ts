/**
 * Answers who may get which pieces from where: asks the lease table, which is told what the directory knows of members
 * that hold the whole blob, and names the agents in its reply as others can dial them.
 */
import { registryOf } from '@shoal/oci';
import type { LeaseTable } from '@shoal/swarm';
import type { LeaseAnswer, LeaseRequest } from '@shoal/wire';
import type { Directory } from '../directory/directory.ts';
import type { Disputes } from '../disputes/disputes.ts';
import type { Member } from '../members/membership.ts';

/** Holders of the whole blob that the table is told of: so many of the asker's zone, and as many of others. */
const MAX_HOLDERS = 8;
const RETRY_AUDIT_MS = 500;
const RETRY_SETTLING_MS = 400;
const RETRY_SUSPENDED_MS = 2_000;
/** One agent audits a blob at a time, and proves it by its PeerId: the lease needs no name of its own. */
const AUDIT_LEASE_ID = 'audit';

type WithoutBarred<T> = T extends LeaseAnswer ? Omit<T, 'barred' | 'witness'> : never;
type RunAnswer = WithoutBarred<LeaseAnswer>;

export interface OriginLeasesDependencies {
  table: LeaseTable;
  directory: Directory;
  disputes: Disputes;
  /** Whether agents are still telling what they hold: the directory says nothing of who holds no blob. @default never */
  isSettling?: () => boolean;
}

export class OriginLeases {
  readonly #table: LeaseTable;
  readonly #directory: Directory;
  readonly #disputes: Disputes;
  readonly #isSettling: () => boolean;

  constructor(dependencies: OriginLeasesDependencies) {
    this.#table = dependencies.table;
    this.#directory = dependencies.directory;
    this.#disputes = dependencies.disputes;
    this.#isSettling = dependencies.isSettling ?? (() => false);
  }

  ask(member: Member, request: LeaseRequest, nowMs: number): LeaseAnswer {
    const barred = this.#disputes.avoided();
    if (this.#disputes.isSuspended(member.peerId)) {
      return { granted: false, retryAfterMs: RETRY_SUSPENDED_MS, peers: [], barred };
    }
    if (request.audit === 'end') {
      this.#table.endAudit(request.blob, member.peerId);
      return { granted: false, retryAfterMs: RETRY_AUDIT_MS, peers: [], barred };
    }
    const witness = this.#disputes.witnessFor(request.blob, member);
    const extras = { barred, ...(witness === undefined ? {} : { witness }) };
    if (request.audit === 'ask') {
      return this.#table.audit(request.blob, member.peerId, nowMs)
        ? { granted: true, leaseId: AUDIT_LEASE_ID, from: 0, to: 0, source: 'audit', peers: [], ...extras }
        : { granted: false, retryAfterMs: RETRY_AUDIT_MS, peers: [], ...extras };
    }
    return { ...this.#answerRun(member, request, nowMs), ...extras };
  }

  #answerRun(member: Member, request: LeaseRequest, nowMs: number): RunAnswer {
    const { blob, sizeBytes, starved, piece, avoid, silent } = request;
    const complete = this.#directory.holders(blob, member, MAX_HOLDERS);
    const settling = this.#isSettling() && !starved;
    // Read long ago perhaps, and held by members that have not told so yet.
    if (settling && !this.#table.knows(blob)) return { granted: false, retryAfterMs: RETRY_SETTLING_MS, peers: [] };
    const reply = this.#table.request(
      {
        blob,
        agent: member.peerId,
        zone: member.zone,
        registry: registryOf(blob),
        sizeBytes,
        starved,
        others: this.#directory.isWantedByOthers(blob, member),
        ...(settling ? {} : { complete }),
        ...(piece === undefined ? {} : { piece }),
        ...(avoid === undefined ? {} : { avoid }),
        ...(silent === undefined ? {} : { silent }),
      },
      nowMs,
    );
    if (reply.granted) {
      const { leaseId, from, to, source, holders } = reply;
      return { granted: true, leaseId, from, to, source, peers: this.#directory.find(holders) };
    }
    const worth = new Set([...reply.holders, ...complete.sameZone, ...complete.otherZones]);
    const peers = this.#directory.send(member, blob, [...worth], nowMs);
    return { granted: false, retryAfterMs: reply.retryAfterMs, peers };
  }
}
