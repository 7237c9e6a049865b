/**
 * Who belongs to the cluster. Joining needs the join secret and a signature by the key inside the PeerId; it gives two
 * JWTs, both signed with the cluster key: the certificate that members show each other, and the session for calls to
 * the tracker. They differ in their audience, so a peer that was shown a certificate cannot act at the tracker with it.
 */
import { createPublicKey, hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import { ed25519KeyOfPeerId, type JoinAnswer, type JoinRequest, joinProofBytes, MAX_CLOCK_SKEW_MS } from '@shoal/wire';
import { jwtVerify, SignJWT } from 'jose';
import { ApiError } from '../api/api-error.ts';
import { rawPublicKey } from '../identity/identity.ts';

const DEFAULT_CERTIFICATE_LIFETIME_MS: number = 24 * 3_600_000;

export interface MembershipOptions {
  /** @default 24 hours */
  certificateLifetimeMs?: number;
}

export interface MembershipDependencies {
  clusterKey: KeyObject;
  joinSecret: string;
  /** Milliseconds since the epoch. */
  clock: () => number;
  isBarred: (peerId: string) => boolean;
}

export interface Member {
  peerId: string;
  zone: string;
}

export class Membership {
  readonly #lifetimeMs: number;
  readonly #dependencies: MembershipDependencies;
  readonly #publicKey: KeyObject;
  readonly #clusterKey: string;

  constructor(options: MembershipOptions, dependencies: MembershipDependencies) {
    this.#lifetimeMs = options.certificateLifetimeMs ?? DEFAULT_CERTIFICATE_LIFETIME_MS;
    this.#dependencies = dependencies;
    this.#publicKey = createPublicKey(dependencies.clusterKey);
    this.#clusterKey = rawPublicKey(dependencies.clusterKey);
  }

  /** @throws ApiError WRONG_JOIN_TOKEN, BAD_PROOF, CLOCK_SKEW, BARRED */
  async join(request: JoinRequest): Promise<JoinAnswer> {
    const nowMs = this.#dependencies.clock();
    if (!sameSecret(request.secret, this.#dependencies.joinSecret)) {
      throw new ApiError(401, 'WRONG_JOIN_TOKEN', 'the secret of the join token is not this one of this cluster');
    }
    if (!isProven(request)) {
      throw new ApiError(401, 'BAD_PROOF', 'the proof is not a signature by the Ed25519 key of the PeerId');
    }
    if (Math.abs(nowMs - request.sentAtMs) > MAX_CLOCK_SKEW_MS) {
      throw new ApiError(
        403,
        'CLOCK_SKEW',
        `the clocks are too far apart: the agent's says ${timeOf(request.sentAtMs)}, the tracker's ${timeOf(nowMs)}; ` +
          `at most ${MAX_CLOCK_SKEW_MS / 60_000} minutes are allowed`,
      );
    }
    this.#refuseBarred(request.peerId);
    const expiresAtMs = nowMs + this.#lifetimeMs;
    const [certificate, session] = await Promise.all(
      ['peers', 'tracker'].map((audience) => this.#sign(request, audience, nowMs, expiresAtMs)),
    );
    if (certificate === undefined || session === undefined) throw new TypeError('unreachable');
    return { certificate, session, clusterKey: this.#clusterKey, expiresAtMs, nowMs };
  }

  /** @throws ApiError NO_SESSION, BARRED */
  async memberOf(session: string): Promise<Member> {
    const member = await this.#verified(session);
    if (member === undefined) throw new ApiError(401, 'NO_SESSION', 'no valid session; join first');
    this.#refuseBarred(member.peerId);
    return member;
  }

  async #verified(session: string): Promise<Member | undefined> {
    try {
      const { payload } = await jwtVerify(session, this.#publicKey, {
        algorithms: ['EdDSA'],
        audience: 'tracker',
        requiredClaims: ['sub', 'exp'],
        currentDate: new Date(this.#dependencies.clock()),
      });
      const { sub, zone } = payload;
      return sub === undefined || typeof zone !== 'string' ? undefined : { peerId: sub, zone };
    } catch {
      return undefined;
    }
  }

  #sign(member: Member, audience: string, nowMs: number, expiresAtMs: number): Promise<string> {
    return new SignJWT({ zone: member.zone })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setSubject(member.peerId)
      .setAudience(audience)
      .setIssuedAt(Math.floor(nowMs / 1000))
      .setExpirationTime(Math.floor(expiresAtMs / 1000))
      .sign(this.#dependencies.clusterKey);
  }

  #refuseBarred(peerId: string): void {
    if (this.#dependencies.isBarred(peerId)) {
      throw new ApiError(403, 'BARRED', 'this member is barred from the cluster');
    }
  }
}

/** Compares hashes, so neither content nor length shows in the time it takes. */
function sameSecret(given: string, expected: string): boolean {
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', expected, 'buffer'));
}

function isProven(request: JoinRequest): boolean {
  const raw = ed25519KeyOfPeerId(request.peerId);
  if (raw === undefined) return false;
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') },
    format: 'jwk',
  });
  const signed = joinProofBytes(request.peerId, request.sentAtMs);
  return verify(null, signed, key, Buffer.from(request.proof, 'base64url'));
}

/** Any integer may come from outside; `Date` only knows some of them. */
function timeOf(epochMs: number): string {
  const date = new Date(epochMs);
  return Number.isNaN(date.getTime()) ? `${epochMs} ms` : date.toISOString();
}
