import type { Digest } from '@shoal/oci';
import { type AnnounceRequest, MAX_ANNOUNCED_BLOBS } from '@shoal/wire';

const MAX_UNHEARD_WITHDRAWALS = 16_384;

/** What one announcement carries beside the addresses. */
export type Announcement = Pick<AnnounceRequest, 'blobs' | 'withdraw'>;

/**
 * What this agent wants and holds, and how much of it the tracker has heard. Pure: it makes announcements, and is told
 * which of them arrived.
 */
export class AnnouncedBlobs {
  readonly #wants = new Set<Digest>();
  /** Those announced longest ago first. */
  readonly #haves = new Set<Digest>();
  readonly #unheardHaves = new Set<Digest>();
  readonly #unheardWithdrawals = new Set<Digest>();

  get hasNews(): boolean {
    return this.#unheardHaves.size > 0 || this.#unheardWithdrawals.size > 0;
  }

  want(digests: readonly Digest[]): void {
    for (const digest of digests) {
      this.#wants.add(digest);
      this.#unheardWithdrawals.delete(digest);
    }
  }

  unwant(digests: readonly Digest[]): void {
    for (const digest of digests) {
      if (this.#wants.delete(digest) && !this.#haves.has(digest)) this.#mustWithdraw(digest);
    }
  }

  have(digests: readonly Digest[]): void {
    for (const digest of digests) {
      this.#haves.add(digest);
      this.#unheardHaves.add(digest);
      this.#unheardWithdrawals.delete(digest);
    }
  }

  withdraw(digests: readonly Digest[]): void {
    for (const digest of digests) {
      if (!this.#haves.delete(digest)) continue;
      this.#unheardHaves.delete(digest);
      this.#mustWithdraw(digest);
    }
  }

  /** The tracker knows nothing any more: everything held is news again. */
  forgetHeard(): void {
    for (const digest of this.#haves) this.#unheardHaves.add(digest);
    this.#unheardWithdrawals.clear();
  }

  /** These blobs as wanted; those that are here already are left out, so that no copy is hidden. */
  *wanted(digests: Iterable<Digest>): Generator<Announcement> {
    const wanted = [...digests].filter((digest) => !this.#haves.has(digest));
    for (let from = 0; from < wanted.length; from += MAX_ANNOUNCED_BLOBS) {
      const blobs = wanted
        .slice(from, from + MAX_ANNOUNCED_BLOBS)
        .map((digest) => ({ digest, state: 'want' }) as const);
      yield { blobs, withdraw: [] };
    }
  }

  /** What the tracker has not heard yet, as much as fits one announcement. */
  news(): Announcement {
    return { blobs: haveOf(this.#unheardHaves), withdraw: [...first(this.#unheardWithdrawals)] };
  }

  /** All wants, then the part of the haves whose turn it is. There is always at least one: it says “still here”. */
  *repetition(): Generator<Announcement> {
    yield* this.wanted(this.#wants);
    yield { blobs: haveOf(this.#haves), withdraw: [...first(this.#unheardWithdrawals)] };
  }

  /**
   * The announcement arrived. What changed while it was on its way becomes news, so that whatever order announcements
   * arrive in, the tracker ends up knowing what is true.
   */
  heard(announcement: Announcement): void {
    for (const digest of announcement.withdraw) {
      this.#unheardWithdrawals.delete(digest);
      if (this.#haves.has(digest)) this.#unheardHaves.add(digest);
    }
    for (const { digest, state } of announcement.blobs) {
      const held = this.#haves.has(digest);
      if (state === 'have' && held) {
        this.#unheardHaves.delete(digest);
        this.#haves.delete(digest);
        this.#haves.add(digest);
      } else if (held) {
        this.#unheardHaves.add(digest);
      } else if (state === 'have' || !this.#wants.has(digest)) {
        this.#mustWithdraw(digest);
      }
    }
  }

  /** Beyond the bound the tracker is left to forget by itself. */
  #mustWithdraw(digest: Digest): void {
    if (this.#unheardWithdrawals.size < MAX_UNHEARD_WITHDRAWALS) this.#unheardWithdrawals.add(digest);
  }
}

function haveOf(digests: Iterable<Digest>): AnnounceRequest['blobs'] {
  return [...first(digests)].map((digest) => ({ digest, state: 'have' }));
}

function* first(digests: Iterable<Digest>): Generator<Digest> {
  let count = 0;
  for (const digest of digests) {
    if (count++ === MAX_ANNOUNCED_BLOBS) return;
    yield digest;
  }
}
