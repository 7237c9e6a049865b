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
 * | POST /v1/report          | ReportRequest         | ReportAnswer       |
 * | POST /v1/reference       | ReferenceReport       | {}                 |
 * | POST /v1/reference/ask   | ReferenceLookup       | ReferenceTurn      |
 * | POST /v1/reference/find  | ReferenceQuery        | ReferenceRecord or 404 |
 * | POST /v1/leave           | {}                    | {}                 |
 *
 * and those of `prefetch-api.ts` and `node-report.ts`.
 *
 * A refusal is `{ error: { code, message } }` with a 4xx or 5xx status.
 */
import { type Digest, parseDigest } from '@shoal/oci';
import { z } from 'zod';
import { blob, sizeBytes } from './api-fields.ts';
import { MAX_ATTESTATION_BYTES } from './attestation.ts';
import { reportEveryMs } from './node-report.ts';
import { nodeName } from './prefetch-api.ts';

/** Agents announce what they want or hold at least this often, or the tracker forgets them. */
export const ANNOUNCE_TTL_MS = 30_000;
/** A lease that is not renewed for this long is given to somebody else. */
export const LEASE_TTL_MS = 2_000;
/** No refused lease makes an agent wait longer than this before it asks again. */
const MAX_RETRY_AFTER_MS = 60_000;
/** No answer about a reference is worth asking for when it is older. */
export const MAX_REFERENCE_AGE_MS: number = 60 * 60_000;
/** An answer about a reference is held back no longer than this. */
export const MAX_REFERENCE_WAIT_MS = 1_500;
/** Clocks further apart than this cannot work with certificates that expire. */
export const MAX_CLOCK_SKEW_MS: number = 5 * 60_000;
/** Names the running tracker process in every answer; an agent that sees a new one announces everything again. */
export const TRACKER_INSTANCE_HEADER = 'shoal-tracker-instance';
/** Most blobs in one announcement. */
export const MAX_ANNOUNCED_BLOBS = 1024;
/** Most peer records in one answer, whatever the number of blobs asked about. */
export const MAX_ANSWERED_PEERS = 384;
/** Most PeerIds that one answer tells to be avoided. */
export const MAX_ANSWERED_BARRED = 128;
/** Most acquaintances in one answer. */
export const MAX_ACQUAINTANCES = 16;

const digest = z.string().transform((text, context): Digest => {
  const parsed = parseDigest(text);
  if (parsed === undefined) {
    context.addIssue({ code: 'custom', message: 'not a digest' });
    return z.NEVER;
  }
  return parsed;
});
const peerId = z.string().min(1).max(128);
const addresses = z.array(z.string().max(256)).max(16);
const zone = z.string().max(64);
const leaseId = z.string().min(1).max(64);
/** More pieces than the largest blob has. */
const pieceIndex = z.number().int().nonnegative().max(0xffff_ffff);
const attestation = z.base64().max(4 * Math.ceil(MAX_ATTESTATION_BYTES / 3));

/** Where a member can be dialled: multiaddrs without the /p2p part. */
const peerRecord = z.object({ peerId, addresses, zone });
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

/**
 * One call per image: all of its blobs at once. `have` means complete, verified and on disk. `acquaintances`: how many
 * members the agent would like to know whatever they hold.
 */
export const announceRequestSchema = z.object({
  addresses,
  blobs: z.array(z.object({ blob, state: z.enum(['want', 'have']) })).max(MAX_ANNOUNCED_BLOBS),
  withdraw: z.array(blob).max(MAX_ANNOUNCED_BLOBS),
  acquaintances: z.number().int().positive().max(MAX_ACQUAINTANCES).optional(),
  /** What people call the node. One that is no name counts as none. */
  name: nodeName.optional().catch(undefined),
  /** Whether the agent carries out orders to prefetch. */
  takesOrders: z.boolean().optional(),
});
export type AnnounceRequest = z.infer<typeof announceRequestSchema>;

const peers = z.array(peerRecord).max(MAX_ANSWERED_PEERS);
/** Members to have nothing to do with: barred lately, or suspected of having lied and suspended until that is settled. */
const barred = z.array(peerId).max(MAX_ANSWERED_BARRED);

/**
 * For each wanted blob a sample of the other agents in its swarm, mostly of the same zone, as indexes into `peers`.
 * Blobs that the same agents want share one sample. `members`: how many there are now.
 */
export const announceAnswerSchema = z.object({
  peers,
  swarms: z
    .array(z.object({ blob, peers: z.array(z.number().int().nonnegative()).max(MAX_ANSWERED_PEERS) }))
    .max(MAX_ANNOUNCED_BLOBS),
  barred,
  members: z.number().int().nonnegative(),
  acquaintances: z.array(peerRecord).max(MAX_ACQUAINTANCES).optional(),
  /** There are orders to prefetch for the caller, of which it has not said anything lately. */
  orders: z.boolean().optional(),
  /** How often the tracker would like to hear how the node is (`node-report.ts`); left out where nobody looks at it. */
  reportEveryMs: reportEveryMs.optional().catch(undefined),
});
export type AnnounceAnswer = z.infer<typeof announceAnswerSchema>;

/**
 * Asks for leave to get a run of a blob's pieces where others of the zone do not get them: from the origin, or from
 * another zone. `piece` is the first one that the agent lacks and that nobody it knows offers. `starved` says that a
 * reader waits for it for long although somebody else holds the lease or a copy. `avoid` names members that sent this
 * agent bytes which did not verify, `silent` members that do not answer it: what they hold is as good as missing. `audit` asks instead to be the one
 * that reads pieces again, because the complete blob did not match its digest, or says that it is done with that.
 */
export const leaseRequestSchema = z.object({
  blob,
  sizeBytes,
  starved: z.boolean(),
  piece: pieceIndex.optional(),
  avoid: z.array(peerId).max(8).optional(),
  silent: z.array(peerId).max(8).optional(),
  audit: z.enum(['ask', 'end']).optional(),
});
export type LeaseRequest = z.infer<typeof leaseRequestSchema>;

/** This agent should read that piece of the blob from the origin and report what it is: others disagree about it. */
const witness = z.object({ index: pieceIndex }).optional();

/**
 * Granted: pieces [from, to) are this agent's to get, from the registry (`origin`) or from `peers` in other zones (`zone`);
 * no renewal or release belongs to an `audit`. Refused: `peers` hold or read the blob; ask again after `retryAfterMs`.
 */
export const leaseAnswerSchema = z.discriminatedUnion('granted', [
  z.object({
    granted: z.literal(true),
    leaseId,
    from: pieceIndex,
    to: pieceIndex,
    source: z.enum(['origin', 'zone', 'audit']),
    peers,
    barred,
    witness,
  }),
  z.object({
    granted: z.literal(false),
    retryAfterMs: z.number().int().nonnegative().max(MAX_RETRY_AFTER_MS),
    peers,
    barred,
    witness,
  }),
]);
export type LeaseAnswer = z.infer<typeof leaseAnswerSchema>;

/**
 * `bytes`: read so far, a renewal without growth does not extend the lease. `next`: the first piece of the run that is
 * not here. `ranges`: whether the origin honoured a request for a range, once that is known.
 */
export const leaseRenewalSchema = z.object({
  leaseId,
  bytes: sizeBytes,
  next: pieceIndex,
  ranges: z.boolean().optional(),
});
export type LeaseRenewal = z.infer<typeof leaseRenewalSchema>;

/** `to`: where the lease ends now; less when somebody else took its tail, more when the origin ignores ranges. */
export const leaseRenewalAnswerSchema = z.object({ held: z.boolean(), to: pieceIndex });
export type LeaseRenewalAnswer = z.infer<typeof leaseRenewalAnswerSchema>;

/** `no-range`: the origin sends the whole body to a request for a range. */
export const leaseReleaseSchema = z.object({
  leaseId,
  how: z.enum(['done', 'failed', 'unneeded', 'no-range']),
  next: pieceIndex,
});
export type LeaseRelease = z.infer<typeof leaseReleaseSchema>;

/**
 * What the caller read of a piece from the origin is not what another member signed. Attestations as base64: `counter`
 * by the caller, `claim` the other one; a witness, who does not know the other one, sends no claim.
 */
export const reportRequestSchema = z.object({
  blob,
  sizeBytes,
  index: pieceIndex,
  claim: attestation.optional(),
  counter: attestation,
});
export type ReportRequest = z.infer<typeof reportRequestSchema>;

export const reportAnswerSchema = z.object({ barred });
export type ReportAnswer = z.infer<typeof reportAnswerSchema>;

/**
 * A tag or digest of a repository, as it is for those who ask the registry with the same rights. `scope` names those
 * rights and means nothing to the tracker: two members with one scope present the same to the same address. It cannot
 * be turned back into a credential.
 */
const referenceKey = z.object({
  registry: z.string().max(256),
  repository: z.string().max(256),
  reference: z.string().max(256),
  scope: z.string().min(1).max(64),
});
/** What a registry answers depends on what the client accepts: a short name for all that do alike. */
const acceptClass = z.string().max(64);
const mediaType = z.string().max(256);

/** What a reference was, the last time its origin answered a member. Used only while that origin cannot be asked. */
export const referenceRecordSchema = referenceKey.extend({
  digest,
  mediaType,
  sizeBytes,
  resolvedAtMs: z.number().int(),
});
export type ReferenceRecord = z.infer<typeof referenceRecordSchema>;

export const referenceQuerySchema = referenceKey;
export type ReferenceQuery = z.infer<typeof referenceQuerySchema>;

/**
 * What a reference is now, if a member was told so less than `maxAgeMs` ago. Where another member asks the origin at
 * this moment, the answer is held back for up to `waitMs`.
 */
export const referenceLookupSchema = referenceKey.extend({
  accept: acceptClass,
  maxAgeMs: z.number().int().nonnegative().max(MAX_REFERENCE_AGE_MS),
  waitMs: z.number().int().nonnegative().max(MAX_REFERENCE_WAIT_MS),
});
export type ReferenceLookup = z.infer<typeof referenceLookupSchema>;

/** A definite no: 401 or 403, 404, or another 4xx that asking again does not change. */
const refusalCode = z.enum(['unauthorized', 'not-found', 'refused']);

/**
 * `told`: the origin said so `ageMs` ago. `refused`: it said no a moment ago. `ask`: the caller should ask the origin
 * and report. `wait`: somebody else is asking; come back after `retryAfterMs`.
 */
export const referenceTurnSchema = z.discriminatedUnion('turn', [
  z.object({ turn: z.literal('told'), digest, mediaType, sizeBytes, ageMs: z.number().nonnegative() }),
  z.object({ turn: z.literal('refused'), code: refusalCode }),
  z.object({ turn: z.literal('ask') }),
  z.object({ turn: z.literal('wait'), retryAfterMs: z.number().int().nonnegative().max(MAX_RETRY_AFTER_MS) }),
]);
export type ReferenceTurn = z.infer<typeof referenceTurnSchema>;

/**
 * What the origin said to the caller: `failed` when it could not be asked, `left` when the caller had no need of the
 * answer any more.
 */
export const referenceReportSchema = z.discriminatedUnion('said', [
  referenceRecordSchema.extend({ said: z.literal('found'), accept: acceptClass }),
  referenceKey.extend({ said: z.literal('refused'), accept: acceptClass, code: refusalCode }),
  referenceKey.extend({ said: z.enum(['failed', 'left']), accept: acceptClass }),
]);
export type ReferenceReport = z.infer<typeof referenceReportSchema>;

export const trackerErrorSchema = z.object({
  error: z.object({
    code: z.enum([
      'BAD_REQUEST',
      'WRONG_JOIN_TOKEN',
      'BAD_PROOF',
      'CLOCK_SKEW',
      'NO_SESSION',
      'BARRED',
      'SUSPENDED',
      'NOT_FOUND',
      'TOO_MANY_REQUESTS',
      'INTERNAL',
    ]),
    message: z.string(),
  }),
});
export type TrackerErrorCode = z.infer<typeof trackerErrorSchema>['error']['code'];
