/** Members of a cluster that is a test's own. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { attestedBytes, encodeAttestation, type JoinAnswer, joinProofBytes, peerIdOfEd25519Key } from '@shoal/wire';
import type { Piece } from '../disputes/evidence.ts';
import { Membership } from './membership.ts';

const SECRET = 'a secret';

export interface TestMember extends JoinAnswer {
  peerId: string;
  privateKey: KeyObject;
}

export class TestMembers {
  readonly barred = new Set<string>();
  readonly membership: Membership = new Membership(
    {},
    {
      clusterKey: generateKeyPairSync('ed25519').privateKey,
      joinSecret: SECRET,
      clock: Date.now,
      isBarred: (peerId) => this.barred.has(peerId),
    },
  );

  async join(): Promise<TestMember> {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const peerId = peerIdOfEd25519Key(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'));
    const sentAtMs = Date.now();
    const proof = sign(null, joinProofBytes(peerId, sentAtMs), privateKey).toString('base64url');
    const answer = await this.membership.join({ secret: SECRET, peerId, sentAtMs, proof, zone: 'a' });
    return { ...answer, peerId, privateKey };
  }
}

/** As it stands in a report: the member says that the piece's SHA-256 is this byte, 32 times. */
export function attestationBy(
  { certificate, privateKey }: Pick<TestMember, 'certificate' | 'privateKey'>,
  piece: Piece,
  byte: number,
): string {
  const sha256 = new Uint8Array(32).fill(byte);
  const signature = sign(null, attestedBytes(piece, sha256), privateKey);
  return Buffer.from(encodeAttestation({ index: piece.index, sha256, signature, certificate })).toString('base64');
}
