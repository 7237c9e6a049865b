/** The blobs that are being pulled somewhere, or were a moment ago, and how far each puller said it is. */
import type { BlobId } from '@shoal/oci';
import type { ReportedPull } from '@shoal/wire';
import { LRUCache } from 'lru-cache';

/** How long a rollout stays on the page after its last pull. */
export const SHOWN_AFTER_MS: number = 2 * 60_000;
const DEFAULT_MAX_BLOBS = 512;
const MAX_PULLS_OF_BLOB = 10_000;
/** Of all blobs together, some 20 MB. */
const DEFAULT_MAX_PULLS = 100_000;
const MAX_REMEMBERED = 10_000;

export interface Pull {
  heldBytes: number;
  fromOrigin: number;
  fromPeers: number;
  /** Of the report that said so. */
  atMs: number;
}

/** What agents said of a blob. */
export interface ToldBlob {
  sizeBytes: number;
  repository?: string | undefined;
}

export interface ActiveBlob extends ToldBlob {
  readonly blob: BlobId;
  readonly firstAtMs: number;
  lastAtMs: number;
  /** By the PeerId of who pulls or pulled it. */
  readonly pulls: Map<string, Pull>;
}

export interface ActiveBlobsOptions {
  /** @default 512 */
  maxBlobs?: number;
  /** What is reported beyond it is not remembered. @default 100000 */
  maxPulls?: number;
}

export class ActiveBlobs {
  readonly #maxBlobs: number;
  readonly #maxPulls: number;
  #pullCount = 0;
  /** Those that were longest not spoken of first. */
  readonly #blobs = new Map<BlobId, ActiveBlob>();
  /** Also of blobs that are not active any more. */
  readonly #told = new LRUCache<BlobId, ToldBlob>({ max: MAX_REMEMBERED });

  constructor({ maxBlobs = DEFAULT_MAX_BLOBS, maxPulls = DEFAULT_MAX_PULLS }: ActiveBlobsOptions = {}) {
    this.#maxBlobs = maxBlobs;
    this.#maxPulls = maxPulls;
  }

  /** Pulls remembered now. */
  get pullCount(): number {
    return this.#pullCount;
  }

  reported(peerId: string, pulls: readonly ReportedPull[], nowMs: number): void {
    // Also while nobody looks.
    this.#expire(nowMs);
    for (const { blob, sizeBytes, repository, heldBytes, fromOrigin, fromPeers } of pulls) {
      const active = this.#activeOf(blob, { sizeBytes, repository }, nowMs);
      if (!active.pulls.has(peerId)) {
        if (active.pulls.size >= MAX_PULLS_OF_BLOB || this.#pullCount >= this.#maxPulls) continue;
        this.#pullCount++;
      }
      active.pulls.set(peerId, {
        heldBytes: Math.min(heldBytes, active.sizeBytes),
        fromOrigin,
        fromPeers,
        atMs: nowMs,
      });
    }
  }

  /** Those spoken of lately first. */
  list(nowMs: number): ActiveBlob[] {
    this.#expire(nowMs);
    return [...this.#blobs.values()].reverse();
  }

  told(blob: BlobId): ToldBlob | undefined {
    return this.#told.peek(blob);
  }

  /** Whoever speaks of it first says how large it is. */
  #activeOf(blob: BlobId, told: ToldBlob, nowMs: number): ActiveBlob {
    const known = this.#blobs.get(blob);
    if (known !== undefined) {
      known.lastAtMs = nowMs;
      known.repository ??= told.repository;
      this.#blobs.delete(known.blob);
      this.#blobs.set(known.blob, known);
      return known;
    }
    if (this.#blobs.size >= this.#maxBlobs) {
      const [oldest] = this.#blobs.values();
      if (oldest !== undefined) this.#forget(oldest);
    }
    const active = { ...told, blob, firstAtMs: nowMs, lastAtMs: nowMs, pulls: new Map() };
    this.#blobs.set(blob, active);
    this.#told.set(blob, told);
    return active;
  }

  #expire(nowMs: number): void {
    for (const active of this.#blobs.values()) {
      if (nowMs - active.lastAtMs < SHOWN_AFTER_MS) break;
      this.#forget(active);
    }
  }

  #forget({ blob, pulls }: ActiveBlob): void {
    this.#blobs.delete(blob);
    this.#pullCount -= pulls.size;
  }
}
