/** The tracker as one traced pull asks it: leases and introductions are spans, what nobody waits for is passed on. */
import type { BlobId } from '@shoal/oci';
import type {
  LeaseAnswer,
  LeaseRenewalAnswer,
  LeaseRequest,
  PeerRecord,
  ReferenceLookup,
  ReferenceQuery,
  ReferenceRecord,
  ReferenceReport,
  ReferenceTurn,
  ReportAnswer,
} from '@shoal/wire';
import type {
  Contradiction,
  LeaseEnd,
  LeaseProgress,
  Membership,
  TrackerClient,
} from '../tracker-client/tracker-client.ts';
import type { Span, SpanAttributes } from './span.ts';

export interface TracedTrackerEvents {
  /** A span below the pull's; undefined when it has enough of them. */
  begin(name: string, attributes: SpanAttributes): Span | undefined;
  onGranted(lease: Extract<LeaseAnswer, { granted: true }>): void;
  onRenewed(isHeld: boolean): void;
}

export class TracedTracker implements TrackerClient {
  readonly #tracker: TrackerClient;
  readonly #events: TracedTrackerEvents;

  constructor(tracker: TrackerClient, events: TracedTrackerEvents) {
    this.#tracker = tracker;
    this.#events = events;
  }

  async lease(request: LeaseRequest): Promise<LeaseAnswer | undefined> {
    const { starved, piece, audit } = request;
    const span = this.#events.begin('tracker lease', {
      'shoal.starved': starved,
      'shoal.piece': piece,
      'shoal.audit': audit,
    });
    const answer = await this.#tracker.lease(request);
    if (answer?.granted === true) this.#events.onGranted(answer);
    span?.set(answer === undefined ? {} : leaseAttributes(answer));
    span?.end(answer === undefined ? 'unreachable' : undefined);
    return answer;
  }

  async want(blobs: readonly BlobId[]): Promise<Map<BlobId, PeerRecord[]> | undefined> {
    const span = this.#events.begin('tracker announce', { 'shoal.blobs': blobs.length });
    const found = await this.#tracker.want(blobs);
    const peers = new Set([...(found?.values() ?? [])].flat().map(({ peerId }) => peerId));
    span?.set({ 'shoal.peers': peers.size });
    span?.end(found === undefined ? 'unreachable' : undefined);
    return found;
  }

  async renew(leaseId: string, progress: LeaseProgress): Promise<LeaseRenewalAnswer | undefined> {
    const answer = await this.#tracker.renew(leaseId, progress);
    if (answer !== undefined) this.#events.onRenewed(answer.held);
    return answer;
  }

  release(leaseId: string, end: LeaseEnd): void {
    this.#tracker.release(leaseId, end);
  }

  membership(): Membership | undefined {
    return this.#tracker.membership();
  }

  reachable(): boolean {
    return this.#tracker.reachable();
  }

  clusterSize(): number {
    return this.#tracker.clusterSize();
  }

  unwant(blobs: readonly BlobId[]): void {
    this.#tracker.unwant(blobs);
  }

  have(blobs: readonly BlobId[]): void {
    this.#tracker.have(blobs);
  }

  withdraw(blobs: readonly BlobId[]): void {
    this.#tracker.withdraw(blobs);
  }

  report(contradiction: Contradiction): Promise<ReportAnswer | undefined> {
    return this.#tracker.report(contradiction);
  }

  barred(): ReadonlySet<string> {
    return this.#tracker.barred();
  }

  lookUpReference(lookup: ReferenceLookup): Promise<ReferenceTurn | undefined> {
    return this.#tracker.lookUpReference(lookup);
  }

  reportReference(report: ReferenceReport): void {
    this.#tracker.reportReference(report);
  }

  findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined> {
    return this.#tracker.findReference(query);
  }

  close(): Promise<void> {
    return this.#tracker.close();
  }
}

function leaseAttributes(answer: LeaseAnswer): SpanAttributes {
  if (!answer.granted) return { 'shoal.lease.granted': false, 'shoal.retry_after_ms': answer.retryAfterMs };
  const { source, leaseId, from, to } = answer;
  return {
    'shoal.lease.granted': true,
    'shoal.lease.kind': source,
    'shoal.lease.id': leaseId,
    'shoal.lease.from': from,
    'shoal.lease.to': to,
  };
}
