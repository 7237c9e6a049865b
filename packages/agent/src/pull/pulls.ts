/**
 * One pull per blob of a registry: whoever asks for it joins the pull already under way, at its own offset.
 * The mirror sees only this interface.
 */
import type { Digest } from '@shoal/oci';
import { type Asker, askerKey } from '../origin/asker.ts';
import type { OriginCall, Repository } from '../origin/origin-client.ts';
import type { RateLane } from '../rate/rate-limit.ts';
import type { Span } from '../tracing/span.ts';

/** Where a blob may be read from, should neither store nor peers have it. */
export interface PullSource {
  repository: Repository;
  kind: 'blob' | 'manifest';
  /** In whose name it is read. */
  asker: Asker;
  /** From the manifest that names the blob. */
  sizeHintBytes?: number;
  /** Sent upstream for manifests. */
  accept?: string;
  /** What the origin said a manifest is; kept with it. */
  mediaType?: string;
  pullId: string;
  /** No client waits for it: it gives way to what clients read, and passes below the lane's rate. */
  background?: { lane: RateLane | undefined };
  /** Of the request that asks for it, where that is traced. */
  span?: Span | undefined;
}

export function callFor({ pullId, asker, span }: PullSource, signal: AbortSignal): OriginCall {
  return { pullId, asker, signal, span };
}

/** Whether the registry that both are of would tell both the same. */
export function isSameSource(one: PullSource, other: PullSource): boolean {
  return one.repository.name === other.repository.name && askerKey(one.asker) === askerKey(other.asker);
}

/** A blob being read by one client; `sizeBytes` is known, bytes are verified before they come out. */
export interface BlobReader {
  readonly digest: Digest;
  /** Undefined only when no manifest named the size and the origin does not tell it. */
  readonly sizeBytes: number | undefined;
  readonly mediaType: string | undefined;
  /**
   * The bytes `[start, end)` in order; what came last is overwritten by what is asked for next. `end` defaults to the blob's end. Throws when no source is left: the caller must cut the
   * connection short. The blob's last bytes come only after the whole blob matched its digest.
   */
  bytes(start: number, end: number | undefined, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Undefined where the blob is passed through and not kept. */
  readonly keeping?: Keeping | undefined;
  /** Must be called once, whatever happened. */
  close(): void;
}

/** A blob on its way into the store, or there already. */
export interface Keeping {
  /**
   * Resolves when the whole blob is verified and in the store. Unlike reading, this makes no piece more urgent than others.
   * @throws what ended the pull, or the signal's reason
   */
  arrived(signal: AbortSignal): Promise<void>;
  /** `fromPeers` and `fromOrigin`: bytes of pieces that came for this blob since its pull began. */
  progress(): { heldBytes: number; fromPeers: number; fromOrigin: number };
}

export interface Pulls {
  /**
   * Resolves when the size is known and the byte at `start` (or the blob's end) is here, or its source is at work;
   * rejects (OriginError, PullError) soon when nobody can serve it, at the latest after 8 s.
   */
  open(digest: Digest, source: PullSource, start: number, signal: AbortSignal): Promise<BlobReader>;
  /** Starts looking for peers of all the blobs under a manifest of this registry that was just served. */
  expect(registry: string, digests: readonly Digest[]): void;
  openCount(): number;
  close(): Promise<void>;
}
