/** The blobs that are being pulled somewhere, or were a moment ago, and how far each puller said it is. */
import type { BlobId } from '@shoal/oci';
import type { ReportedPull } from '@shoal/wire';
import { LRUCache } from 'lru-cache';

/** How long a rollout stays on the page after its last pull. */
export const SHOWN_AFTER_MS: number = 2 * 60_000;
const DEFAULT_MAX_BLOBS = 512;
const MAX_PULLS_OF_BLOB = 10_000;
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

export class ActiveBlobs {
  readonly #maxBlobs: number;
  /** Those that were longest not spoken of first. */
  readonly #blobs = new Map<BlobId, ActiveBlob>();
  /** Also of blobs that are not active any more. */
  readonly #told = new LRUCache<BlobId, ToldBlob>({ max: MAX_REMEMBERED });

  constructor({ maxBlobs = DEFAULT_MAX_BLOBS }: { maxBlobs?: number } = {}) {
    this.#maxBlobs = maxBlobs;
  }

  reported(peerId: string, pulls: readonly ReportedPull[], nowMs: number): void {
    for (const { blob, sizeBytes, repository, heldBytes, fromOrigin, fromPeers } of pulls) {
      const active = this.#activeOf(blob, { sizeBytes, repository }, nowMs);
      if (!active.pulls.has(peerId) && active.pulls.size >= MAX_PULLS_OF_BLOB) continue;
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
    for (const [blob, { lastAtMs }] of this.#blobs) {
      if (nowMs - lastAtMs < SHOWN_AFTER_MS) break;
      this.#blobs.delete(blob);
    }
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
      const [oldest] = this.#blobs.keys();
      if (oldest !== undefined) this.#blobs.delete(oldest);
    }
    const active = { ...told, blob, firstAtMs: nowMs, lastAtMs: nowMs, pulls: new Map() };
    this.#blobs.set(blob, active);
    this.#told.set(blob, told);
    return active;
  }
}
