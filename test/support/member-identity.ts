import { generateKeyPairSync, sign } from 'node:crypto';
import type { TrackerClientDependencies } from '@shoal/agent';
import { peerIdOfEd25519Key } from '@shoal/wire';

/** Of a member that is new to every cluster. */
export function newIdentity(): TrackerClientDependencies['identity'] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  return { peerId: peerIdOfEd25519Key(raw), sign: (bytes) => sign(null, bytes, privateKey) };
}
