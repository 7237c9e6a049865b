/**
 * Who belongs to the cluster. Joining needs the join secret and a signature by the key inside the PeerId; it gives two
 * JWTs, both signed with the cluster key: the certificate that members show each other, and the session for calls to
 * the tracker. They differ in their audience, so a peer that was shown a certificate cannot act at the tracker with it.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { type JoinAnswer, type JoinRequest, joinProofBytes, MAX_CLOCK_SKEW_MS } from '@shoal/wire';
import { jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { ApiError } from '../api/api-error.ts';
import { isSignedBy } from '../identity/ed25519.ts';
import { rawPublicKey } from '../identity/identity.ts';
import { sameSecret } from '../identity/same-secret.ts';

const DEFAULT_CERTIFICATE_LIFETIME_MS: number = 24 * 3_600_000;
/** Sessions whose signature was checked; beyond that, the ones not used for the longest time are checked again. */
const MAX_CHECKED_SESSIONS = 50_000;

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

interface Session {
  member: Member;
  expiresAtMs: number;
}

export class Membership {
  readonly #checked = new LRUCache<string, Session>({ max: MAX_CHECKED_SESSIONS });
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
    this.refuseBarred(request.peerId);
    const expiresAtMs = nowMs + this.#lifetimeMs;
    const [certificate, session] = await Promise.all(
      ['peers', 'tracker'].map((audience) => this.#sign(request, audience, nowMs, expiresAtMs)),
    );
    if (certificate === undefined || session === undefined) throw new TypeError('unreachable');
    return { certificate, session, clusterKey: this.#clusterKey, expiresAtMs, nowMs };
  }

  /**
   * A promise only when the session's signature was not checked before.
   * @throws ApiError NO_SESSION, BARRED
   */
  memberOf(session: string): Member | Promise<Member> {
    const checked = this.#checked.get(session);
    return checked === undefined ? this.#check(session) : this.#admit(checked);
  }

  /** Also while its session is good. @throws ApiError BARRED */
  refuseBarred(peerId: string): void {
    if (this.#dependencies.isBarred(peerId)) {
      throw new ApiError(403, 'BARRED', 'this member is barred from the cluster');
    }
  }

  /** The member that this certificate is of, even if it ran out up to `toleranceMs` ago; undefined when it is no certificate. */
  async holderOf(certificate: string, toleranceMs: number): Promise<string | undefined> {
    return (await this.#verified(certificate, 'peers', toleranceMs))?.member.peerId;
  }

  async #check(text: string): Promise<Member> {
    const session = await this.#verified(text, 'tracker', 0);
    if (session === undefined) throw noSession();
    this.#checked.set(text, session);
    return this.#admit(session);
  }

  #admit({ member, expiresAtMs }: Session): Member {
    if (this.#dependencies.clock() >= expiresAtMs) throw noSession();
    this.refuseBarred(member.peerId);
    return member;
  }

  async #verified(token: string, audience: 'peers' | 'tracker', toleranceMs: number): Promise<Session | undefined> {
    try {
      const { payload } = await jwtVerify(token, this.#publicKey, {
        algorithms: ['EdDSA'],
        audience,
        requiredClaims: ['sub', 'exp'],
        clockTolerance: toleranceMs / 1000,
        currentDate: new Date(this.#dependencies.clock()),
      });
      const { sub, zone, exp } = payload;
      if (sub === undefined || exp === undefined || typeof zone !== 'string') return undefined;
      return { member: { peerId: sub, zone }, expiresAtMs: exp * 1000 };
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
}

function isProven({ peerId, sentAtMs, proof }: JoinRequest): boolean {
  return isSignedBy(peerId, joinProofBytes(peerId, sentAtMs), Buffer.from(proof, 'base64url'));
}

function noSession(): ApiError {
  return new ApiError(401, 'NO_SESSION', 'no valid session; join first');
}

/** Any integer may come from outside; `Date` only knows some of them. */
function timeOf(epochMs: number): string {
  const date = new Date(epochMs);
  return Number.isNaN(date.getTime()) ? `${epochMs} ms` : date.toISOString();
}
