/** Signs attestations with this agent's key, and checks those that come with a piece. */
import { type KeyObject, sign, verify } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import { type Attestation, attestedBytes, decodeAttestation, encodeAttestation, FrameError } from '@shoal/wire';
import type { Membership } from '../tracker-client/tracker-client.ts';
import { type CertificateChecker, CertificateError, isCurrent, type MemberCertificate } from './certificate.ts';
import { PeerError } from './peer-network.ts';

/**
 * Pieces outlive the certificates of those who attested them (hours), and their hashes do not become wrong: a signer
 * whose certificate ran out less than a week ago still counts. Beyond that a piece is read from the origin again.
 */
export const ATTESTATION_GRACE_MS: number = 7 * 24 * 60 * 60_000;

export interface Piece {
  blob: BlobId;
  sizeBytes: number;
  index: number;
}

export function signAttestation(piece: Piece, sha256: Uint8Array, certificate: string, key: KeyObject): Uint8Array {
  const signature = sign(null, attestedBytes(piece, sha256), key);
  return encodeAttestation({ index: piece.index, sha256, signature, certificate });
}

/** What an attestation says, once it was checked. */
export interface Attested {
  /** Of the piece. */
  sha256: Uint8Array;
  /** PeerId of the member that says so. */
  signer: string;
}

/**
 * Returns what a member of this cluster vouches for.
 * @throws PeerError corrupt: whoever sent this attestation should have checked it, and is to blame
 */
export function checkAttestation(
  bytes: Uint8Array,
  piece: Piece,
  context: { membership: Membership; checker: CertificateChecker; nowMs: number },
): Attested {
  let attestation: Attestation;
  let signer: MemberCertificate;
  try {
    attestation = decodeAttestation(bytes);
    signer = context.checker.check(attestation.certificate, context.membership.clusterKey);
  } catch (error) {
    if (!(error instanceof FrameError || error instanceof CertificateError)) throw error;
    throw new PeerError('corrupt', `attestation refused: ${error.message}`, { cause: error });
  }
  if (!isCurrent(signer, context.nowMs, ATTESTATION_GRACE_MS)) {
    throw new PeerError('corrupt', 'attestation refused: its signer is no member any more');
  }
  if (attestation.index !== piece.index) {
    throw new PeerError('corrupt', `attestation refused: for piece ${attestation.index}, not ${piece.index}`);
  }
  if (!verify(null, attestedBytes(piece, attestation.sha256), signer.publicKey, attestation.signature)) {
    throw new PeerError('corrupt', 'attestation refused: its signature does not fit this piece');
  }
  return { sha256: attestation.sha256, signer: signer.peerId };
}

/** Who signed an attestation that was checked before; undefined when no member of this cluster did. */
export function signerOf(bytes: Uint8Array, clusterKey: string, checker: CertificateChecker): string | undefined {
  if (bytes.length === 0) return undefined;
  try {
    return checker.check(decodeAttestation(bytes).certificate, clusterKey).peerId;
  } catch (error) {
    if (error instanceof FrameError || error instanceof CertificateError) return undefined;
    throw error;
  }
}
