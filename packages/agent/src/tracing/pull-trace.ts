/**
 * The span of one pull and what is below it. The pull itself knows nothing of it: it is given the registries and the tracker
 * as this one watches them, and tells from whom a piece came.
 *
 * Bounded, however long the pull takes: so many spans below it, and so many peers by name; the rest is counted.
 */
import { digestOf, registryOf } from '@shoal/oci';
import { pieceSizeOf } from '@shoal/swarm';
import type { LeaseAnswer } from '@shoal/wire';
import type { OriginClient } from '../origin/origin-client.ts';
import type { SizedBlob } from '../pull/blob-size.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { Span, SpanAttributes } from './span.ts';
import { TracedOrigin } from './traced-origin.ts';
import { TracedTracker } from './traced-tracker.ts';

const MAX_SPANS = 256;
const MAX_PEERS = 16;
/** A pull holds two at most; those that just ended are kept for requests that they began. */
const MAX_LEASES = 8;

type Lease = Extract<LeaseAnswer, { granted: true }>;

interface Supplier {
  pieces: number;
  bytes: number;
}

export interface PullTraceDependencies {
  origin: OriginClient;
  tracker: TrackerClient;
  /** Monotonic milliseconds. */
  now: () => number;
}

export class PullTrace {
  readonly span: Span;
  readonly origin: OriginClient;
  readonly tracker: TrackerClient;
  readonly #pieceSize: number;
  readonly #now: () => number;
  readonly #startedMs: number;
  readonly #leases: Lease[] = [];
  readonly #peers = new Map<string, Supplier>();
  readonly #fromOrigin: Supplier = { pieces: 0, bytes: 0 };
  readonly #fromOtherPeers: Supplier = { pieces: 0, bytes: 0 };
  readonly #failures = new Map<string, number>();
  #spans = 0;
  #leftOut = 0;
  #renewals = 0;
  #lost = 0;

  /** @param request the span of the request that began the pull; others may join it later */
  constructor(request: Span, { blob, sizeBytes }: SizedBlob, { origin, tracker, now }: PullTraceDependencies) {
    this.#pieceSize = pieceSizeOf(sizeBytes);
    this.#now = now;
    this.#startedMs = now();
    this.span = request.child('pull', 'internal', {
      'shoal.registry': registryOf(blob),
      'shoal.digest': digestOf(blob),
      'shoal.blob_bytes': sizeBytes,
      'shoal.piece_bytes': this.#pieceSize,
      'shoal.members': tracker.clusterSize(),
    });
    this.origin = new TracedOrigin(origin, (_call, name, attributes, offset) =>
      this.#begin(name, { ...attributes, ...this.#leaseAt(offset) }),
    );
    this.tracker = new TracedTracker(tracker, {
      begin: (name, attributes) => this.#begin(name, attributes),
      onGranted: (lease) => {
        this.#leases.push(lease);
        if (this.#leases.length > MAX_LEASES) this.#leases.shift();
      },
      onRenewed: (isHeld) => {
        this.#renewals++;
        if (!isHeld) this.#lost++;
      },
    });
  }

  /** A piece came and was kept. @param from a PeerId or `origin` */
  pieceKept(from: string, sizeBytes: number): void {
    if (this.#fromOrigin.pieces + this.#fromOtherPeers.pieces + this.#peers.size === 0) {
      this.span.event('first piece', { 'shoal.from': from === 'origin' ? 'origin' : 'peer' });
      this.span.set({ 'shoal.first_piece_ms': Math.round(this.#now() - this.#startedMs) });
    }
    const supplier = from === 'origin' ? this.#fromOrigin : this.#peer(from);
    supplier.pieces++;
    supplier.bytes += sizeBytes;
  }

  /** A piece was asked of a peer and did not come; `cause` is a PeerErrorCode. */
  pieceFailed(cause: string): void {
    this.#failures.set(cause, (this.#failures.get(cause) ?? 0) + 1);
  }

  end(result: 'done' | 'failed' | 'stopped', source: string): void {
    const named = [...this.#peers.values(), this.#fromOtherPeers];
    this.span.set({
      'shoal.result': result,
      'shoal.source': source,
      'shoal.origin.pieces': this.#fromOrigin.pieces,
      'shoal.origin.bytes': this.#fromOrigin.bytes,
      'shoal.peers': this.#peers.size,
      'shoal.peers.pieces': named.reduce((sum, { pieces }) => sum + pieces, 0),
      'shoal.peers.bytes': named.reduce((sum, { bytes }) => sum + bytes, 0),
      'shoal.leases.renewals': this.#renewals,
      'shoal.leases.lost': this.#lost,
      'shoal.spans_left_out': this.#leftOut === 0 ? undefined : this.#leftOut,
    });
    for (const [cause, count] of this.#failures) this.span.set({ [`shoal.peers.failures.${cause}`]: count });
    for (const [peer, { pieces, bytes }] of this.#peers) {
      this.span.event('peer', { 'shoal.peer': peer, 'shoal.pieces': pieces, 'shoal.bytes': bytes });
    }
    const { pieces, bytes } = this.#fromOtherPeers;
    if (pieces > 0) this.span.event('other peers', { 'shoal.pieces': pieces, 'shoal.bytes': bytes });
    this.span.end(result === 'failed' ? 'failed' : undefined);
  }

  #peer(peerId: string): Supplier {
    const known = this.#peers.get(peerId);
    if (known !== undefined) return known;
    if (this.#peers.size >= MAX_PEERS) return this.#fromOtherPeers;
    const supplier = { pieces: 0, bytes: 0 };
    this.#peers.set(peerId, supplier);
    return supplier;
  }

  #begin(name: string, attributes: SpanAttributes): Span | undefined {
    if (this.#spans >= MAX_SPANS) {
      this.#leftOut++;
      return undefined;
    }
    this.#spans++;
    return this.span.child(name, 'client', attributes);
  }

  /** The lease that a request for the blob from this byte on is made under. */
  #leaseAt(offset: number | undefined): SpanAttributes {
    if (offset === undefined) return {};
    const index = Math.floor(offset / this.#pieceSize);
    const lease = this.#leases.findLast(({ from, to }) => from <= index && index < to);
    return lease === undefined ? {} : { 'shoal.lease.id': lease.leaseId, 'shoal.lease.kind': lease.source };
  }
}
