/** What this agent serves to its peers: pieces of blobs under way, and every committed blob. */
import type { BlobId } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import type { Holdings, PeerNetwork } from '../peers/peer-network.ts';
import type { BlobStore, PartialBlob } from '../store/blob-store.ts';
import { readVerifiedPiece } from './verified-piece.ts';

export interface StoredHoldingsDependencies {
  store: BlobStore;
  partial: (blob: BlobId) => PartialBlob | undefined;
  attest: PeerNetwork['attest'];
  /** Whether committed blobs are offered: not by an agent that is about to stop. What was offered before is still read. */
  offersCommitted: () => boolean;
}

export class StoredHoldings implements Holdings {
  readonly #dependencies: StoredHoldingsDependencies;

  constructor(dependencies: StoredHoldingsDependencies) {
    this.#dependencies = dependencies;
  }

  async held(blob: BlobId): Promise<{ sizeBytes: number; pieces: PieceMap } | undefined> {
    const partial = this.#dependencies.partial(blob);
    if (partial !== undefined) return { sizeBytes: partial.sizeBytes, pieces: partial.pieces.clone() };
    if (!this.#dependencies.offersCommitted()) return undefined;
    const record = await this.#dependencies.store.find(blob);
    if (record === undefined) return undefined;
    return { sizeBytes: record.sizeBytes, pieces: PieceMap.full(pieceCountOf(record.sizeBytes)) };
  }

  async read(blob: BlobId, index: number): Promise<{ bytes: Uint8Array; attestation: Uint8Array } | undefined> {
    const partial = this.#dependencies.partial(blob);
    if (partial?.pieces.has(index) === true) {
      const { offset, length } = pieceExtent(partial.sizeBytes, index);
      const attestation = partial.attestation(index);
      if (attestation === undefined) return undefined;
      const bytes = await partial.read(offset, length);
      // The piece may have been forgotten under the read, and another version of it be on the disk now.
      return partial.attestation(index) === attestation ? { bytes, attestation } : undefined;
    }
    const handle = await this.#dependencies.store.open(blob);
    if (handle === undefined) return undefined;
    try {
      if (index >= pieceCountOf(handle.sizeBytes)) return undefined;
      const { bytes, sha256 } = await readVerifiedPiece(this.#dependencies.store, handle, index);
      return { bytes, attestation: this.#dependencies.attest({ blob, sizeBytes: handle.sizeBytes, index }, sha256) };
    } finally {
      handle.release();
    }
  }
}
