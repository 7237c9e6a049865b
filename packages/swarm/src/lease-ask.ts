/** What an agent asks of the lease table, tells it, and is answered. */
import type { BlobId } from '@shoal/oci';
import type { Lease } from './blob-leases.ts';
import type { LeaseSource } from './swarm-event.ts';

export interface LeaseAsk {
  blob: BlobId;
  agent: string;
  zone: string;
  registry: string;
  sizeBytes: number;
  /** A reader has waited for `piece` for long, whoever holds it. */
  starved: boolean;
  /** The first piece that the agent lacks and that nobody it knows offers. */
  piece?: number;
  /** Members that sent this agent bytes that did not verify: it does not take the blob from them. */
  avoid?: readonly string[];
  /** Members that do not answer this agent: it does not take the blob from them now. */
  silent?: readonly string[];
  /** Whether others want the blob, too. @default false */
  others?: boolean;
  /** Some of the members that hold the whole blob, if any do. */
  complete?: { sameZone: readonly string[]; otherZones: readonly string[] };
}

/** `holders`: agents that have the run (zone lease) or are reading the blob (refusal): worth connecting to. */
export type LeaseReply =
  | { granted: true; leaseId: string; from: number; to: number; source: LeaseSource; holders: string[] }
  | { granted: false; retryAfterMs: number; holders: string[] };

export interface LeaseProgress {
  /** Grows while bytes come in; a renewal without growth does not extend the lease. */
  bytes: number;
  /** The first piece of the run that the holder lacks. */
  next: number;
  /** Whether the origin honoured a request for a range, once that is known. */
  ranges?: boolean;
}

/** Whether what the holder brings can be had by the asker. */
export function canServe(lease: Lease, ask: LeaseAsk): boolean {
  if (lease.agent === ask.agent || isUseless(ask, lease.agent)) return false;
  return lease.source === 'origin' || lease.zone === ask.zone;
}

/** Whether the asker gets nothing from that member. */
export function isUseless({ avoid, silent }: LeaseAsk, agent: string): boolean {
  return avoid?.includes(agent) === true || silent?.includes(agent) === true;
}

export function refused(retryAfterMs: number, holders: string[]): LeaseReply {
  return { granted: false, retryAfterMs, holders };
}
