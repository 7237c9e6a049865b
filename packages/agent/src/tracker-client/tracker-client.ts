/**
 * The way to the tracker. Every call has a short deadline, and while the tracker is down a call fails at once instead
 * of adding its deadline to somebody's pull: callers treat `undefined` as "no tracker" and go on without it.
 */
import type { BlobId } from '@shoal/oci';
import type {
  LeaseAnswer,
  LeaseRelease,
  LeaseRenewal,
  LeaseRenewalAnswer,
  LeaseRequest,
  PeerRecord,
  ReferenceLookup,
  ReferenceQuery,
  ReferenceRecord,
  ReferenceReport,
  ReferenceTurn,
  ReportAnswer,
  ReportRequest,
} from '@shoal/wire';

/** What joining gave this agent; kept on disk so that it can still trade while the tracker is down. */
export interface Membership {
  /** JWT shown to peers. */
  certificate: string;
  /** base64url of the 32 bytes that verify certificates. */
  clusterKey: string;
  expiresAtMs: number;
}

export type LeaseProgress = Omit<LeaseRenewal, 'leaseId'>;
export type LeaseEnd = Omit<LeaseRelease, 'leaseId'>;

/** `counter`: the attestation by this agent; `claim`: the other member's, unknown to a witness. Both as they travel. */
export interface Contradiction extends Omit<ReportRequest, 'claim' | 'counter'> {
  claim?: Uint8Array | undefined;
  counter: Uint8Array;
}

export interface TrackerClient {
  /** Undefined until the first join succeeded (now or in an earlier run). */
  membership(): Membership | undefined;
  /** Whether the tracker answered lately. */
  reachable(): boolean;
  /** Members there are, this agent included, as far as the tracker said. */
  clusterSize(): number;
  /** Wants are remembered and repeated until `unwant`; answers with the peers of each wanted blob. */
  want(blobs: readonly BlobId[]): Promise<Map<BlobId, PeerRecord[]> | undefined>;
  unwant(blobs: readonly BlobId[]): void;
  /** Complete blobs; remembered and repeated. Batched, never awaited by a pull. */
  have(blobs: readonly BlobId[]): void;
  withdraw(blobs: readonly BlobId[]): void;
  lease(request: LeaseRequest): Promise<LeaseAnswer | undefined>;
  /** Not held when the lease was lost; undefined when the tracker could not be asked. */
  renew(leaseId: string, progress: LeaseProgress): Promise<LeaseRenewalAnswer | undefined>;
  release(leaseId: string, end: LeaseEnd): void;
  /** What this agent read of a piece is not what another member signed. Undefined when the tracker did not take it. */
  report(contradiction: Contradiction): Promise<ReportAnswer | undefined>;
  /** PeerIds of members to have nothing to do with, by the tracker's last answer: barred, or suspected of a lie. */
  barred(): ReadonlySet<string>;
  /**
   * What a reference is now, or whose turn it is to ask its origin; may take `waitMs`, and less where too many wait.
   * Undefined when the tracker could not be asked.
   */
  lookUpReference(lookup: ReferenceLookup): Promise<ReferenceTurn | undefined>;
  /** What the origin said, for others who wait and for the time when it cannot be asked. */
  reportReference(report: ReferenceReport): void;
  /** What a reference was, the last time an origin told a member with the same rights. */
  findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined>;
  /** Says goodbye and stops. */
  close(): Promise<void>;
}
