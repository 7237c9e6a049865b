import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { ed25519KeyOfPeerId } from '@shoal/wire';

/** The key inside a PeerId; undefined when it is not an Ed25519 one. */
function publicKeyOfPeerId(peerId: string): KeyObject | undefined {
  const raw = ed25519KeyOfPeerId(peerId);
  if (raw === undefined) return undefined;
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** Whether the owner of this PeerId signed these bytes. */
export function isSignedBy(peerId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const key = publicKeyOfPeerId(peerId);
  return key !== undefined && verify(null, bytes, key, signature);
}
