/** What a member has signed about a piece, checked before anybody is accused with it. */
import type { BlobId } from '@shoal/oci';
import { type Attestation, attestedBytes, decodeAttestation, FrameError } from '@shoal/wire';
import { ApiError } from '../api/api-error.ts';
import { isSignedBy } from '../identity/ed25519.ts';
import type { Membership } from '../members/membership.ts';

/** Pieces outlive the certificates of those who attested them; agents accept an attestation for as long as this. */
const CERTIFICATE_GRACE_MS: number = 7 * 24 * 3_600_000;

export interface Piece {
  blob: BlobId;
  sizeBytes: number;
  index: number;
}

/** `by` signed that the piece's SHA-256 is `says`, in hex. */
export interface Statement {
  by: string;
  says: string;
}

/** @param attestation base64 of its bytes. @throws ApiError BAD_REQUEST: not signed by a member, or not about this piece */
export async function checkStatement(attestation: string, piece: Piece, membership: Membership): Promise<Statement> {
  const { index, sha256, signature, certificate } = decode(attestation);
  if (index !== piece.index) throw refused(`an attestation is of piece ${index}, not ${piece.index}`);
  const by = await membership.holderOf(certificate, CERTIFICATE_GRACE_MS);
  if (by === undefined) throw refused('an attestation carries no certificate of this cluster');
  if (!isSignedBy(by, attestedBytes(piece, sha256), signature)) {
    throw refused('the signature of an attestation does not fit this piece and its signer');
  }
  return { by, says: Buffer.from(sha256).toString('hex') };
}

function decode(attestation: string): Attestation {
  try {
    return decodeAttestation(Buffer.from(attestation, 'base64'));
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    throw refused(`an attestation cannot be read: ${error.message}`);
  }
}

function refused(message: string): ApiError {
  return new ApiError(400, 'BAD_REQUEST', message);
}
