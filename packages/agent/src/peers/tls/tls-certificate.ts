/**
 * The certificate that an agent shows on its connections: self-signed, made anew at each start, and of one meaning only.
 * Its key is the agent's identity, so that a finished handshake (TLS 1.3 signs it with that key) proves the PeerId.
 * Whether that peer is a member is asked afterwards, in HELLO.
 */
import { sign, type X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { peerIdOfEd25519Key } from '@shoal/wire';
import { privateKeyOfSeed, rawPublicKey } from '../ed25519-key.ts';

/** Everything of the part that is signed before the key (RFC 5280, 4.1; the key's wrapper is of RFC 8410). */
const SIGNED_PREFIX = Buffer.from(
  [
    '308181', // 129 bytes follow
    'a003020102 020101', // version 3, serial number 1
    '300506032b6570', // signed by Ed25519
    '3010310e300c06035504030c0573686f616c', // by CN=shoal
    '3020 170d3730303130313030303030305a', // from 1970 on, as clocks may be wrong
    '180f39393939313233313233353935395a', // without an end (4.1.2.5)
    '3010310e300c06035504030c0573686f616c', // CN=shoal
    '302a300506032b6570032100', // an Ed25519 key of 32 bytes
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);
const CERTIFICATE_PREFIX = Buffer.from('3081ce', 'hex');
/** Signed by Ed25519, 64 bytes. */
const SIGNATURE_PREFIX = Buffer.from('300506032b6570034100', 'hex');

/** Key and certificate of the agent with this identity, as `node:tls` takes them. @param seed 32 bytes */
export function tlsIdentity(seed: Uint8Array): Pick<SecureContextOptions, 'key' | 'cert'> {
  const key = privateKeyOfSeed(seed);
  const signed = Buffer.concat([SIGNED_PREFIX, rawPublicKey(key)]);
  const der = Buffer.concat([CERTIFICATE_PREFIX, signed, SIGNATURE_PREFIX, sign(null, signed, key)]);
  const cert = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  return { key: key.export({ type: 'pkcs8', format: 'pem' }), cert };
}

/** Whose certificate this is; undefined when its key is none that a PeerId can be of. */
export function peerIdOfCertificate(certificate: X509Certificate): string | undefined {
  const { publicKey } = certificate;
  return publicKey.asymmetricKeyType === 'ed25519' ? peerIdOfEd25519Key(rawPublicKey(publicKey)) : undefined;
}
