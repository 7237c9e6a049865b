/**
 * The verified pieces of one pull: puts them on the disk, then tells the peers; knows who vouched for each, and takes back
 * those of a member that turned out to lie.
 */
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { PartialBlob } from '../store/blob-store.ts';
import type { SizedBlob } from './blob-size.ts';

/** Stands for a signer that cannot be told any more: not this agent, and nobody in particular. */
const UNKNOWN = '';

export interface KeptPiece {
  index: number;
  /** Not used any more once `keep` resolved. */
  bytes: Uint8Array;
  sha256: Uint8Array;
  attestation: Uint8Array;
}

export class PieceKeeper {
  readonly #target: SizedBlob;
  readonly #partial: PartialBlob;
  readonly #network: Pick<PeerNetwork, 'publish' | 'signerOf' | 'peerId'>;
  #bytesFromPeers = 0;
  #bytesFromOrigin = 0;
  readonly #peers = new Set<string>();

  constructor(target: SizedBlob, partial: PartialBlob, network: Pick<PeerNetwork, 'publish' | 'signerOf' | 'peerId'>) {
    this.#target = target;
    this.#partial = partial;
    this.#network = network;
  }

  get received(): { bytesFromPeers: number; bytesFromOrigin: number; peers: number } {
    return { bytesFromPeers: this.#bytesFromPeers, bytesFromOrigin: this.#bytesFromOrigin, peers: this.#peers.size };
  }

  /** The same piece may come twice; the first one counts. @param from a PeerId or `origin` @throws StoreError */
  async keep({ index, bytes, sha256, attestation }: KeptPiece, from: string): Promise<void> {
    if (this.#partial.pieces.has(index)) return;
    await this.#partial.write(index, bytes, sha256, attestation);
    if (from === 'origin') {
      this.#bytesFromOrigin += bytes.length;
    } else {
      this.#bytesFromPeers += bytes.length;
      this.#peers.add(from);
    }
    this.#network.publish(this.#target.blob, this.#target.sizeBytes, index);
  }

  /** Who signed each piece; undefined for what is not here or what this agent read itself. */
  signers(): (string | undefined)[] {
    const { pieces } = this.#partial;
    return Array.from({ length: pieces.count }, (_, index) => {
      const attestation = this.#partial.attestation(index);
      // An empty one was made here, before this agent was a member.
      if (attestation === undefined || attestation.length === 0) return undefined;
      const signer = this.#network.signerOf(attestation) ?? UNKNOWN;
      return signer === this.#network.peerId ? undefined : signer;
    });
  }

  /** The pieces here that one of these members signed. */
  signedBy(members: ReadonlySet<string>): number[] {
    if (members.size === 0) return [];
    return this.signers().flatMap((signer, index) => (signer !== undefined && members.has(signer) ? [index] : []));
  }
}
