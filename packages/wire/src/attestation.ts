/**
 * The word of a member that a piece's SHA-256 is such and such, because it read that piece from the origin or verified
 * the whole blob. Relays pass it on unchanged, so it carries the signer's certificate; the signer's key is the one
 * inside the PeerId that the certificate names. This file only says how it is written down; signing and checking are
 * the agent's.
 */
import type { BlobId } from '@shoal/oci';
import { MAX_CERTIFICATE_BYTES } from './control-frame.ts';
import { blobFields, FieldReader, FrameError, textFields, uintField } from './frame.ts';

const ATTESTATION_VERSION = 1;
const SHA256_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SIGNED_CONTEXT = 'shoal attest 1\n';
export const MAX_ATTESTATION_BYTES: number = 1 + 4 + SHA256_BYTES + SIGNATURE_BYTES + 2 + MAX_CERTIFICATE_BYTES;

export interface Attestation {
  index: number;
  /** 32 bytes, of the piece. */
  sha256: Uint8Array;
  /** Ed25519, 64 bytes, over `attestedBytes`. */
  signature: Uint8Array;
  /** The signer's membership certificate (compact JWT). */
  certificate: string;
}

/** What an attester signs. The blob says its length, the rest is of fixed width, so no two pieces share a text. */
export function attestedBytes(
  piece: { blob: BlobId; sizeBytes: number; index: number },
  sha256: Uint8Array,
): Uint8Array {
  const fields = [
    new TextEncoder().encode(SIGNED_CONTEXT),
    ...blobFields(piece.blob),
    uintField(piece.sizeBytes, 8),
    uintField(piece.index, 4),
    sha256,
  ];
  return concatenate(fields);
}

/** @throws FrameError too-long, value */
export function encodeAttestation(attestation: Attestation): Uint8Array {
  if (attestation.sha256.length !== SHA256_BYTES || attestation.signature.length !== SIGNATURE_BYTES) {
    throw new FrameError('value', 'attestation field of the wrong length');
  }
  return concatenate([
    uintField(ATTESTATION_VERSION, 1),
    uintField(attestation.index, 4),
    attestation.sha256,
    attestation.signature,
    ...textFields(attestation.certificate, MAX_CERTIFICATE_BYTES),
  ]);
}

/** Hashes and signatures are views of `bytes`. @throws FrameError */
export function decodeAttestation(bytes: Uint8Array): Attestation {
  const fields = new FieldReader(bytes);
  const version = fields.uint(1);
  if (version !== ATTESTATION_VERSION) throw new FrameError('version', `attestation version ${version}`);
  const attestation = {
    index: fields.uint(4),
    sha256: fields.take(SHA256_BYTES),
    signature: fields.take(SIGNATURE_BYTES),
    certificate: fields.text(MAX_CERTIFICATE_BYTES),
  };
  fields.end();
  return attestation;
}

function concatenate(fields: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(fields.reduce((sum, field) => sum + field.length, 0));
  let offset = 0;
  for (const field of fields) {
    all.set(field, offset);
    offset += field.length;
  }
  return all;
}
