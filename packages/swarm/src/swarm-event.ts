/** What happens to a blob's swarm, and what it decides to do about it. Times are milliseconds on the caller's clock. */
import type { PieceMap } from './piece-map.ts';

/** `gone` and `busy` are nobody's fault; `slow` cost a deadline; `corrupt` ends the trade with that peer for this blob. */
export type FetchFailure = 'gone' | 'busy' | 'not-held' | 'slow' | 'corrupt' | 'cancelled';

/**
 * How reading a run from the origin ended. `failed`: worth another try after `retryAfterMs`.
 * `refused`: the origin does not have it for us, asking again is useless.
 */
export type OriginEnd = 'done' | 'failed' | 'refused';

export type SwarmEvent =
  | { type: 'peer-map'; peer: string; zone: string; pieces: PieceMap }
  | { type: 'peer-have'; peer: string; index: number }
  | { type: 'peer-gone'; peer: string }
  /** The piece is verified and on disk. */
  | { type: 'piece'; index: number; from: string | 'origin' }
  | { type: 'fetch-failed'; peer: string; index: number; why: FetchFailure; retryAfterMs?: number }
  /** A reader waits for (or will next want) this piece. */
  | { type: 'reader'; reader: number; index: number }
  | { type: 'reader-gone'; reader: number }
  | { type: 'lease-granted'; leaseId: string }
  /** The tracker gave the lease to somebody else. What is being read goes on until a peer offers it. */
  | { type: 'lease-lost' }
  | { type: 'lease-refused'; retryAfterMs: number }
  /** No tracker answers: everybody decides alone. */
  | { type: 'lease-unavailable' }
  /** Bytes are coming in from the origin, though no piece is whole yet. */
  | { type: 'origin-bytes' }
  | { type: 'origin-ended'; how: OriginEnd; retryAfterMs?: number }
  | { type: 'tick' };

export type SwarmAction =
  | { type: 'fetch'; peer: string; index: number }
  | { type: 'cancel'; peer: string; index: number }
  | { type: 'ask-lease'; starved: boolean }
  /** Read pieces [from, to) from the origin, in order. */
  | { type: 'read-origin'; from: number; to: number }
  | { type: 'stop-origin' }
  | { type: 'release-lease'; leaseId: string; done: boolean }
  /** Ask the tracker for more peers. */
  | { type: 'find-peers' }
  | { type: 'complete' }
  | { type: 'give-up'; why: 'origin-refused' | 'no-progress' };
