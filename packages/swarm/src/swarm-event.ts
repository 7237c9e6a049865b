/** What happens to a blob's swarm, and what it decides to do about it. Times are milliseconds on the caller's clock. */
import type { PieceMap } from './piece-map.ts';

/** `gone` and `busy` are nobody's fault; `slow` cost a deadline; `corrupt` ends the trade with that peer for this blob. */
export type FetchFailure = 'gone' | 'busy' | 'not-held' | 'slow' | 'corrupt' | 'cancelled';

/**
 * How reading a run from the origin ended. `failed`: worth another try after `retryAfterMs`. `refused`: the origin does
 * not have it for us, asking again is useless. `no-range`: it sent the whole body to a request for a range.
 */
export type OriginEnd = 'done' | 'failed' | 'refused' | 'no-range';

/** `origin`: read the run from the registry. `zone`: fetch it from members of other zones, which nobody else of this zone does. */
export type LeaseSource = 'origin' | 'zone';

export type ReleaseHow = 'done' | 'failed' | 'unneeded' | 'no-range';

export type SwarmEvent =
  /** Connected and wants the same blob; it may hold nothing yet. */
  | { type: 'peer-wants'; peer: string; zone: string }
  /** All that a connected peer holds now; replaces what was known of it. */
  | { type: 'peer-map'; peer: string; zone: string; pieces: PieceMap }
  | { type: 'peer-have'; peer: string; indexes: readonly number[] }
  /** Disconnected, or it withdrew the blob. */
  | { type: 'peer-gone'; peer: string }
  /** The piece is verified and on disk. */
  | { type: 'piece'; index: number; from: string | 'origin' }
  /** Pieces that were here are not any more: whoever vouched for them was barred, or the disk forgot. */
  | { type: 'pieces-lost'; indexes: readonly number[] }
  | { type: 'fetch-failed'; peer: string; index: number; why: FetchFailure; retryAfterMs?: number }
  /** A reader waits for (or will next want) this piece. */
  | { type: 'reader'; reader: number; index: number }
  | { type: 'reader-gone'; reader: number }
  /** Leave to get pieces [from, to) from `source`. */
  | { type: 'lease-granted'; leaseId: string; from: number; to: number; source: LeaseSource }
  /** The lease ends at `to` now: shorter when somebody else took its tail, longer when the origin ignores ranges. */
  | { type: 'lease-changed'; leaseId: string; to: number }
  | { type: 'lease-lost'; leaseId: string }
  | { type: 'lease-refused'; retryAfterMs: number }
  /** No tracker answers: everybody decides alone. */
  | { type: 'lease-unavailable' }
  /** Bytes are coming in from the origin, though no piece is whole yet. */
  | { type: 'origin-bytes' }
  /** `ranged`: whether the origin honoured the request for a range, once that was seen. */
  | { type: 'origin-ended'; how: OriginEnd; retryAfterMs?: number; ranged?: boolean }
  /** After it refused: another credential or repository to ask with is there. */
  | { type: 'origin-allowed' }
  /** Due every 100 ms. `behind`: other blobs that this agent gets first, so that readers of this one have to be patient. */
  | { type: 'tick'; behind?: number };

export type SwarmAction =
  /**
   * `patience`: who has the least is served first; per mille of the blob, 0 when a reader waits for this very piece.
   * `deadlineMs`: how long the peer may bring nothing.
   */
  | { type: 'fetch'; peer: string; index: number; patience: number; deadlineMs: number }
  | { type: 'cancel'; peer: string; index: number }
  /**
   * `piece`: the first one that is missing and offered by nobody. `avoid`: peers that sent bytes which did not verify, and
   * whose pieces are therefore as good as missing. `silent`: peers that did not answer, which are as good as away. `crowd`:
   * about how many agents want the blob, 0 when no neighbour does.
   */
  | {
      type: 'ask-lease';
      starved: boolean;
      piece: number | undefined;
      avoid: readonly string[];
      silent: readonly string[];
      crowd: number;
    }
  /**
   * Read pieces [from, to) from the origin, in order. At most one such run is under way. `whole`: nobody else is to read
   * any of it, so an origin that sends the body from its start although a range was asked for may do so.
   */
  | { type: 'read-origin'; from: number; to: number; whole: boolean }
  /** The run under way ends at `to` instead. */
  | { type: 'limit-origin'; to: number }
  | { type: 'stop-origin' }
  /** `next`: the first piece of the lease that is not here; those before it are. */
  | { type: 'release-lease'; leaseId: string; how: ReleaseHow; next: number }
  /** Ask the tracker for more peers. */
  | { type: 'find-peers' }
  /** Every piece is here. `pieces-lost` may still bring the machine back to work. */
  | { type: 'complete' }
  | { type: 'give-up'; why: 'origin-refused' | 'no-progress' };
