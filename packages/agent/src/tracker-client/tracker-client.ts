/**
 * The way to the tracker. Every call has a short deadline, and while the tracker is down a call fails at once instead
 * of adding its deadline to somebody's pull: callers treat `undefined` as "no tracker" and go on without it.
 */
import type { Digest } from '@shoal/oci';
import type { LeaseAnswer, PeerRecord, ReferenceQuery, ReferenceRecord } from '@shoal/wire';

/** What joining gave this agent; kept on disk so that it can still trade while the tracker is down. */
export interface Membership {
  /** JWT shown to peers. */
  certificate: string;
  /** base64url of the 32 bytes that verify certificates. */
  clusterKey: string;
  expiresAtMs: number;
}

export interface TrackerClient {
  /** Undefined until the first join succeeded (now or in an earlier run). */
  membership(): Membership | undefined;
  /** Whether the tracker answered lately. */
  reachable(): boolean;
  /** Wants are remembered and repeated until `unwant`; answers with the peers of each wanted blob. */
  want(digests: readonly Digest[]): Promise<Map<Digest, PeerRecord[]> | undefined>;
  unwant(digests: readonly Digest[]): void;
  /** Complete blobs; remembered and repeated. Batched, never awaited by a pull. */
  have(digests: readonly Digest[]): void;
  withdraw(digests: readonly Digest[]): void;
  lease(request: {
    digest: Digest;
    sizeBytes: number;
    registry: string;
    starved: boolean;
  }): Promise<LeaseAnswer | undefined>;
  /** False when the lease was lost; undefined when the tracker could not be asked. */
  renew(leaseId: string, progress: number): Promise<boolean | undefined>;
  release(leaseId: string, done: boolean): void;
  recordReference(record: ReferenceRecord): void;
  findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined>;
  /** Says goodbye and stops. */
  close(): Promise<void>;
}
