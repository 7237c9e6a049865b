/**
 * Checks membership certificates: compact JWTs (RFC 7515, 7519) signed with EdDSA by the cluster's key, audience
 * `peers`, subject the member's PeerId. The check is synchronous, so a HELLO is settled before the next frame is read.
 */
import { type KeyObject, verify } from 'node:crypto';
import { ed25519KeyOfPeerId } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { publicKeyOfRaw, SEED_BYTES } from './ed25519-key.ts';

/** Checked certificates that are remembered, so that an attestation costs one signature check and not two. */
const REMEMBERED_CERTIFICATES = 2048;
const AUDIENCE = 'peers';

/** What a checked certificate says. Whether it is (still) current is the caller's question. */
export interface MemberCertificate {
  peerId: string;
  /** The key inside the PeerId. */
  publicKey: KeyObject;
  notBeforeMs: number;
  expiresAtMs: number;
}

export class CertificateError extends Error {
  readonly code: 'malformed' | 'signature' | 'audience' | 'subject';
  constructor(code: CertificateError['code'], message: string) {
    super(message);
    this.name = 'CertificateError';
    this.code = code;
  }
}

const headerSchema = z.object({ alg: z.literal('EdDSA'), crit: z.undefined().optional() });
const claimsSchema = z.object({
  aud: z.union([z.string(), z.array(z.string())]),
  sub: z.string().max(128),
  exp: z.number(),
  nbf: z.number().optional(),
});

export class CertificateChecker {
  readonly #checked = new LRUCache<string, MemberCertificate>({ max: REMEMBERED_CERTIFICATES });

  /** @param clusterKey base64url of 32 bytes. @throws CertificateError */
  check(certificate: string, clusterKey: string): MemberCertificate {
    const key = `${clusterKey} ${certificate}`;
    const known = this.#checked.get(key);
    if (known !== undefined) return known;
    const member = readCertificate(certificate, clusterKey);
    this.#checked.set(key, member);
    return member;
  }
}

/** Whether the certificate is valid at `nowMs`, with `toleranceMs` for clocks that disagree. */
export function isCurrent(certificate: MemberCertificate, nowMs: number, toleranceMs: number): boolean {
  return nowMs < certificate.expiresAtMs + toleranceMs && nowMs > certificate.notBeforeMs - toleranceMs;
}

function readCertificate(certificate: string, clusterKey: string): MemberCertificate {
  const [header, payload, signature, ...more] = certificate.split('.');
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0) {
    throw new CertificateError('malformed', 'certificate is not a compact JWT');
  }
  if (!headerSchema.safeParse(decodeJson(header)).success) {
    throw new CertificateError('malformed', 'certificate is not signed with EdDSA');
  }
  const rawKey = Buffer.from(clusterKey, 'base64url');
  const signed = Buffer.from(`${header}.${payload}`);
  if (
    rawKey.length !== SEED_BYTES ||
    !verify(null, signed, publicKeyOfRaw(rawKey), Buffer.from(signature, 'base64url'))
  ) {
    throw new CertificateError('signature', 'certificate is not from this cluster');
  }
  const claims = claimsSchema.safeParse(decodeJson(payload));
  if (!claims.success) throw new CertificateError('malformed', 'certificate lacks a claim');
  const { aud, sub, exp, nbf } = claims.data;
  if (aud !== AUDIENCE && !(Array.isArray(aud) && aud.includes(AUDIENCE))) {
    throw new CertificateError('audience', 'certificate is not meant for peers');
  }
  const raw = ed25519KeyOfPeerId(sub);
  if (raw === undefined) throw new CertificateError('subject', 'certificate names no Ed25519 PeerId');
  return { peerId: sub, publicKey: publicKeyOfRaw(raw), notBeforeMs: (nbf ?? 0) * 1000, expiresAtMs: exp * 1000 };
}

function decodeJson(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
  } catch {
    return undefined;
  }
}
