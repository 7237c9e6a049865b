/**
 * The tracker's JSON API over HTTPS: one schema per request and answer, all times in milliseconds since the epoch,
 * all sizes in bytes. Every call but `join` carries `Authorization: Bearer <session>`.
 *
 * | call                     | request               | answer             |
 * | ------------------------ | --------------------- | ------------------ |
 * | POST /v1/join            | JoinRequest           | JoinAnswer         |
 * | POST /v1/announce        | AnnounceRequest       | AnnounceAnswer     |
 * | POST /v1/lease           | LeaseRequest          | LeaseAnswer        |
 * | POST /v1/lease/renew     | LeaseRenewal          | LeaseRenewalAnswer |
 * | POST /v1/lease/release   | LeaseRelease          | {}                 |
 * | POST /v1/reference       | ReferenceRecord       | {}                 |
 * | POST /v1/reference/find  | ReferenceQuery        | ReferenceRecord or 404 |
 * | POST /v1/leave           | {}                    | {}                 |
 *
 * A refusal is `{ error: { code, message } }` with a 4xx or 5xx status.
 */
import { type Digest, parseDigest } from '@shoal/oci';
import { z } from 'zod';

/** Agents announce what they want or hold at least this often, or the tracker forgets them. */
export const ANNOUNCE_TTL_MS = 30_000;
/** A lease that is not renewed for this long is given to somebody else. */
export const LEASE_TTL_MS = 2_000;
/** Clocks further apart than this cannot work with certificates that expire. */
export const MAX_CLOCK_SKEW_MS: number = 5 * 60_000;
/** Names the running tracker process in every answer; an agent that sees a new one announces everything again. */
export const TRACKER_INSTANCE_HEADER = 'shoal-tracker-instance';
/** Most blobs in one announcement. */
export const MAX_ANNOUNCED_BLOBS = 1024;

const digest = z.string().transform((text, context): Digest => {
  const parsed = parseDigest(text);
  if (parsed === undefined) {
    context.addIssue({ code: 'custom', message: 'not a digest' });
    return z.NEVER;
  }
  return parsed;
});
const sizeBytes = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const peerId = z.string().min(1).max(128);
const addresses = z.array(z.string().max(256)).max(16);
const zone = z.string().max(64);

/** Where a member can be dialled: multiaddrs without the /p2p part. */
const peerRecord = z.object({ peerId, addresses, zone, complete: z.boolean() });
export type PeerRecord = z.infer<typeof peerRecord>;

/**
 * `proof` is the base64url Ed25519 signature, by the key inside `peerId`, over `joinProofBytes(peerId, sentAtMs)`:
 * only the owner of a PeerId can ask for its certificate.
 */
export const joinRequestSchema = z.object({
  secret: z.string().min(1).max(256),
  peerId,
  sentAtMs: z.number().int(),
  proof: z.string().max(256),
  zone,
});
export type JoinRequest = z.infer<typeof joinRequestSchema>;

export function joinProofBytes(peerId: string, sentAtMs: number): Uint8Array {
  return new TextEncoder().encode(`shoal join 1\n${peerId}\n${sentAtMs}`);
}

/**
 * `certificate`: JWT (EdDSA, aud `peers`, sub = PeerId, claim `zone`) that members show each other.
 * `session`: JWT (aud `tracker`) for the calls to the tracker; peers never see it.
 * `clusterKey`: the Ed25519 public key that signs both, as base64url of its 32 raw bytes.
 */
export const joinAnswerSchema = z.object({
  certificate: z.string(),
  session: z.string(),
  clusterKey: z.string(),
  expiresAtMs: z.number().int(),
  nowMs: z.number().int(),
});
export type JoinAnswer = z.infer<typeof joinAnswerSchema>;

/** One call per image: all of its digests at once. `have` means complete, verified and on disk. */
export const announceRequestSchema = z.object({
  addresses,
  blobs: z.array(z.object({ digest, state: z.enum(['want', 'have']) })).max(MAX_ANNOUNCED_BLOBS),
  withdraw: z.array(digest).max(MAX_ANNOUNCED_BLOBS),
});
export type AnnounceRequest = z.infer<typeof announceRequestSchema>;

/** A sample of the other agents in each wanted blob's swarm: same zone first, a few across. */
export const announceAnswerSchema = z.object({
  swarms: z.array(z.object({ digest, peers: z.array(peerRecord) })),
});
export type AnnounceAnswer = z.infer<typeof announceAnswerSchema>;

/**
 * Asks for leave to read a blob from the origin. `starved` says that nothing came from any peer for 2 s although
 * somebody else holds the lease or a copy; the tracker then allows a second reader, within a bound.
 */
export const leaseRequestSchema = z.object({ digest, sizeBytes, registry: z.string().max(256), starved: z.boolean() });
export type LeaseRequest = z.infer<typeof leaseRequestSchema>;

export const leaseAnswerSchema = z.discriminatedUnion('granted', [
  z.object({ granted: z.literal(true), leaseId: z.string(), fromPiece: z.number().int(), toPiece: z.number().int() }),
  z.object({ granted: z.literal(false), retryAfterMs: z.number().int(), peers: z.array(peerRecord) }),
]);
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>;

/** `progress`: any count that grows while bytes come in (agents send bytes read); a renewal without growth does not extend the lease. */
export const leaseRenewalSchema = z.object({ leaseId: z.string().max(64), progress: z.number().int().nonnegative() });
export type LeaseRenewal = z.infer<typeof leaseRenewalSchema>;

export const leaseRenewalAnswerSchema = z.object({ held: z.boolean() });
export type LeaseRenewalAnswer = z.infer<typeof leaseRenewalAnswerSchema>;

export const leaseReleaseSchema = z.object({ leaseId: z.string().max(64), done: z.boolean() });
export type LeaseRelease = z.infer<typeof leaseReleaseSchema>;

/**
 * What a tag or digest of a repository was, the last time its origin answered a member without a client's own
 * credentials. Used only while that origin cannot be asked.
 */
export const referenceRecordSchema = z.object({
  registry: z.string().max(256),
  repository: z.string().max(256),
  reference: z.string().max(256),
  digest,
  mediaType: z.string().max(256),
  sizeBytes,
  resolvedAtMs: z.number().int(),
});
export type ReferenceRecord = z.infer<typeof referenceRecordSchema>;

export const referenceQuerySchema = referenceRecordSchema.pick({ registry: true, repository: true, reference: true });
export type ReferenceQuery = z.infer<typeof referenceQuerySchema>;

export const trackerErrorSchema = z.object({
  error: z.object({
    code: z.enum([
      'BAD_REQUEST',
      'WRONG_JOIN_TOKEN',
      'BAD_PROOF',
      'CLOCK_SKEW',
      'NO_SESSION',
      'BARRED',
      'NOT_FOUND',
      'TOO_MANY_REQUESTS',
      'INTERNAL',
    ]),
    message: z.string(),
  }),
});
export type TrackerErrorCode = z.infer<typeof trackerErrorSchema>['error']['code'];
