/**
 * What the lease table knows of one blob, as plain data: another process goes on from it where this one stopped. Left out is
 * what only tunes (paces, how often agents ask, complaints) and what ends within seconds anyway (audits).
 */
import type { BlobLeases, Lease } from './blob-leases.ts';
import type { Run } from './runs.ts';
import type { LeaseSource } from './swarm-event.ts';

/** Pieces [from, to). */
export type SavedRun = [from: number, to: number];
/** Who brought which pieces. */
export type SavedGot = [agent: string, from: number, to: number];

export interface SavedZone {
  name: string;
  lacks: SavedRun[];
  vain: SavedRun[];
  got: SavedGot[];
}

export interface SavedLease {
  id: string;
  agent: string;
  zone: string;
  source: LeaseSource;
  from: number;
  to: number;
  next: number;
  bytes: number;
  whole: boolean;
  extra: boolean;
  shared: boolean;
}

export interface SavedBlob {
  sizeBytes: number;
  unread: SavedRun[];
  zones: SavedZone[];
  elsewhere: SavedGot[];
}

export interface SavedBlobLeases extends SavedBlob {
  leases: SavedLease[];
  /** Whether the blob's registry honours requests for a range, if that is known. */
  ranges?: boolean | undefined;
}

export function savedRuns(runs: Iterable<Readonly<Run>>): SavedRun[] {
  return [...runs].map(({ from, to }) => [from, to]);
}

export function savedLease(lease: Lease): SavedLease {
  const { id, agent, zone, source, from, to, next, bytes, whole, extra, shared } = lease;
  return { id, agent, zone, source, from, to, next, bytes, whole, extra, shared };
}

/** Holders find their way to the next leader meanwhile; what expires too early is read twice. */
const RESTORED_TTLS = 2;

/** Its holder went on meanwhile: it has more than all of its time again, and its pace is found out anew. */
export function restoredLease(
  saved: SavedLease,
  { blob, registry, nowMs, leaseTtlMs }: { blob: BlobLeases; registry: string; nowMs: number; leaseTtlMs: number },
): Lease {
  return {
    ...saved,
    blob,
    registry,
    nextAtMs: nowMs,
    bytesBefore: saved.bytes,
    bytesAtMs: nowMs,
    startedAtMs: nowMs,
    startedFrom: saved.next,
    cutUnheard: false,
    expiresAtMs: nowMs + RESTORED_TTLS * leaseTtlMs,
  };
}
