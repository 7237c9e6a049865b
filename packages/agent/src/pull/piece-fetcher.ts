/** Fetches pieces of one blob from peers, within the memory that pieces on their way may take. */
import { type FetchFailure, pieceExtent, type SwarmAction, type SwarmEvent } from '@shoal/swarm';
import type { Logger } from 'pino';
import { PeerError, type PeerNetwork } from '../peers/peer-network.ts';
import type { SizedBlob } from './blob-size.ts';
import type { KeptPiece } from './piece-keeper.ts';
import type { LentMemory, PieceMemory } from './piece-memory.ts';
import type { PullPace } from './pull-pace.ts';

/** Whatever a peer says. */
const MAX_RETRY_AFTER_MS = 1_000;

export interface PieceFetcherDependencies {
  network: PeerNetwork;
  logger: Logger;
  /** Shared by all pulls. */
  pieceMemory: PieceMemory;
  pace: PullPace;
  /** A peer's piece was refused; `reason` is a PeerErrorCode. */
  onRejected: (reason: string) => void;
  /** A piece did not come; `cause` is a PeerErrorCode. */
  onFailed: (cause: string) => void;
  onPiece(piece: KeptPiece, from: string): Promise<void>;
  onEvent(event: SwarmEvent): void;
}

export class PieceFetcher {
  readonly #target: SizedBlob;
  readonly #dependencies: PieceFetcherDependencies;
  readonly #fetches = new Map<string, AbortController>();

  constructor(target: SizedBlob, dependencies: PieceFetcherDependencies) {
    this.#target = target;
    this.#dependencies = dependencies;
  }

  /** A `fetch-failed` follows when it does not come and was not cancelled. @throws what `onPiece` throws */
  async fetch({ peer, index, patience, deadlineMs }: Extract<SwarmAction, { type: 'fetch' }>): Promise<void> {
    const { blob, sizeBytes } = this.#target;
    const { network, pieceMemory, pace, onPiece } = this.#dependencies;
    const key = `${peer} ${index}`;
    const abort = new AbortController();
    const { signal } = abort;
    this.#fetches.set(key, abort);
    let memory: LentMemory | undefined;
    const { length } = pieceExtent(sizeBytes, index);
    let unused = 0;
    try {
      await pace.take(length, signal);
      unused = length;
      memory = await pieceMemory.borrow(length, signal);
      const options = { into: memory.bytes, deadlineMs, patience, signal };
      const { bytes, sha256, attestation } = await network.fetchPiece(peer, { blob, sizeBytes, index }, options);
      unused = 0;
      await onPiece({ index, bytes, sha256, attestation }, peer);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof PeerError)) throw error;
      this.#failed(peer, index, error);
    } finally {
      if (unused > 0) pace.giveBack(unused);
      memory?.giveBack();
      if (this.#fetches.get(key) === abort) this.#fetches.delete(key);
    }
  }

  cancel(peer: string, index: number): void {
    this.#fetches.get(`${peer} ${index}`)?.abort();
  }

  close(): void {
    for (const abort of this.#fetches.values()) abort.abort();
  }

  #failed(peer: string, index: number, error: PeerError): void {
    const { logger, onRejected, onFailed, onEvent } = this.#dependencies;
    onFailed(error.code);
    if (error.peerIsToBlame || error.code === 'barred-signer') onRejected(error.code);
    if (error.peerIsToBlame) logger.warn({ peer, index, code: error.code }, `peer: ${error.message}`);
    const retryAfterMs = Math.min(MAX_RETRY_AFTER_MS, error.retryAfterMs);
    onEvent({ type: 'fetch-failed', peer, index, why: WHY[error.code], retryAfterMs });
  }
}

const WHY: Record<PeerError['code'], FetchFailure> = {
  busy: 'busy',
  'not-held': 'not-held',
  // The peer passes on what it was given, and may hold the right piece soon.
  'barred-signer': 'not-held',
  gone: 'gone',
  timeout: 'slow',
  corrupt: 'corrupt',
  protocol: 'corrupt',
  cancelled: 'cancelled',
};
