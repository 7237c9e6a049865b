import type { BlobId } from '@shoal/oci';
import { type AnnounceRequest, MAX_ANNOUNCED_BLOBS } from '@shoal/wire';

const MAX_UNHEARD_WITHDRAWALS = 16_384;

/** What one announcement carries beside the addresses. */
export type Announcement = Pick<AnnounceRequest, 'blobs' | 'withdraw'>;

/**
 * What this agent wants and holds, and how much of it the tracker has heard. Pure: it makes announcements, and is told
 * which of them arrived.
 */
export class AnnouncedBlobs {
  readonly #wants = new Set<BlobId>();
  /** Those announced longest ago first. */
  readonly #haves = new Set<BlobId>();
  readonly #unheardHaves = new Set<BlobId>();
  readonly #unheardWithdrawals = new Set<BlobId>();

  get hasNews(): boolean {
    return this.#unheardHaves.size > 0 || this.#unheardWithdrawals.size > 0;
  }

  want(blobs: readonly BlobId[]): void {
    for (const blob of blobs) {
      this.#wants.add(blob);
      this.#unheardWithdrawals.delete(blob);
    }
  }

  unwant(blobs: readonly BlobId[]): void {
    for (const blob of blobs) {
      if (this.#wants.delete(blob) && !this.#haves.has(blob)) this.#mustWithdraw(blob);
    }
  }

  have(blobs: readonly BlobId[]): void {
    for (const blob of blobs) {
      this.#haves.add(blob);
      this.#unheardHaves.add(blob);
      this.#unheardWithdrawals.delete(blob);
    }
  }

  withdraw(blobs: readonly BlobId[]): void {
    for (const blob of blobs) {
      if (!this.#haves.delete(blob)) continue;
      this.#unheardHaves.delete(blob);
      this.#mustWithdraw(blob);
    }
  }

  /** The tracker knows nothing any more: everything held is news again. */
  forgetHeard(): void {
    for (const blob of this.#haves) this.#unheardHaves.add(blob);
    this.#unheardWithdrawals.clear();
  }

  /** These blobs as wanted; those that are here already are left out, so that no copy is hidden. */
  *wanted(blobs: Iterable<BlobId>): Generator<Announcement> {
    const wanted = [...blobs].filter((blob) => !this.#haves.has(blob));
    for (let from = 0; from < wanted.length; from += MAX_ANNOUNCED_BLOBS) {
      const blobs = wanted.slice(from, from + MAX_ANNOUNCED_BLOBS).map((blob) => ({ blob, state: 'want' }) as const);
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
    for (const blob of announcement.withdraw) {
      this.#unheardWithdrawals.delete(blob);
      if (this.#haves.has(blob)) this.#unheardHaves.add(blob);
    }
    for (const { blob, state } of announcement.blobs) {
      const held = this.#haves.has(blob);
      if (state === 'have' && held) {
        this.#unheardHaves.delete(blob);
        this.#haves.delete(blob);
        this.#haves.add(blob);
      } else if (held) {
        this.#unheardHaves.add(blob);
      } else if (state === 'have' || !this.#wants.has(blob)) {
        this.#mustWithdraw(blob);
      }
    }
  }

  /** Beyond the bound the tracker is left to forget by itself. */
  #mustWithdraw(blob: BlobId): void {
    if (this.#unheardWithdrawals.size < MAX_UNHEARD_WITHDRAWALS) this.#unheardWithdrawals.add(blob);
  }
}

function haveOf(blobs: Iterable<BlobId>): AnnounceRequest['blobs'] {
  return [...first(blobs)].map((blob) => ({ blob, state: 'have' }));
}

function* first(blobs: Iterable<BlobId>): Generator<BlobId> {
  let count = 0;
  for (const blob of blobs) {
    if (count++ === MAX_ANNOUNCED_BLOBS) return;
    yield blob;
  }
}
