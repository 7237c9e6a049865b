import { randomUUID } from 'node:crypto';
import type { LeaseTable } from '@shoal/swarm';
import {
  type AnnounceAnswer,
  announceRequestSchema,
  joinRequestSchema,
  leaseReleaseSchema,
  leaseRenewalSchema,
  leaseRequestSchema,
  referenceLookupSchema,
  referenceQuerySchema,
  referenceReportSchema,
} from '@shoal/wire';
import { z } from 'zod';
import type { Directory } from '../directory/directory.ts';
import type { OriginLeases } from '../leases/origin-leases.ts';
import type { Membership } from '../members/membership.ts';
import type { References } from '../references/references.ts';
import { ApiError } from './api-error.ts';
import type { TrackerMetrics } from './metrics.ts';
import { type ApiServer, MAX_ANNOUNCE_BODY_BYTES } from './server.ts';

/** Most peer records in one answer, whatever the number of blobs asked about. */
const MAX_ANSWERED_PEERS = 2_048;
const MIN_PEERS_PER_SWARM = 4;

export interface Rooms {
  membership: Membership;
  directory: Directory;
  leases: LeaseTable;
  originLeases: OriginLeases;
  references: References;
  metrics: TrackerMetrics;
  clock: () => number;
}

/** Every call of the API, each handed to the room that answers it. */
export function serveCalls(server: ApiServer, options: { sampleSize: number }, rooms: Rooms): void {
  const { membership, directory, leases, originLeases, references, metrics, clock } = rooms;

  server.openCall('/v1/join', joinRequestSchema, async (request) => {
    try {
      const answer = await membership.join(request);
      metrics.join('ok');
      return answer;
    } catch (error) {
      metrics.join(error instanceof ApiError ? error.code : 'INTERNAL');
      throw error;
    }
  });

  server.memberCall(
    '/v1/announce',
    announceRequestSchema,
    (member, request): AnnounceAnswer => {
      directory.announce(member, request, clock());
      const wanted = request.blobs.filter((blob) => blob.state === 'want');
      const share = Math.max(MIN_PEERS_PER_SWARM, Math.floor(MAX_ANSWERED_PEERS / Math.max(1, wanted.length)));
      const count = Math.min(options.sampleSize, share);
      return { swarms: wanted.map(({ digest }) => ({ digest, peers: directory.sample(digest, member, count) })) };
    },
    { maxBodyBytes: MAX_ANNOUNCE_BODY_BYTES },
  );

  server.memberCall('/v1/lease', leaseRequestSchema, (member, request) => {
    const answer = originLeases.ask(member, request, clock());
    metrics.leaseRequest(answer.granted);
    return answer;
  });

  server.memberCall('/v1/lease/renew', leaseRenewalSchema, (member, { leaseId, progress }) => ({
    held: leases.renew(leaseId, member.peerId, progress, clock()),
  }));

  server.memberCall('/v1/lease/release', leaseReleaseSchema, (member, { leaseId, done }) => {
    leases.release(leaseId, member.peerId, done, clock());
    return {};
  });

  server.memberCall('/v1/reference', referenceReportSchema, (member, report) => {
    references.report(member.peerId, report);
    return {};
  });

  server.memberCall('/v1/reference/ask', referenceLookupSchema, (member, lookup) =>
    references.ask(member.peerId, lookup),
  );

  server.memberCall('/v1/reference/find', referenceQuerySchema, (_member, query) => {
    const record = references.find(query);
    if (record === undefined) throw new ApiError(404, 'NOT_FOUND', 'this reference was not recorded');
    return record;
  });

  server.memberCall('/v1/leave', z.object({}), (member) => {
    directory.forget(member.peerId);
    leases.forgetAgent(member.peerId);
    return {};
  });
}

/** Unguessable, so that nobody renews a lease they were not given. */
export function newLeaseId(): string {
  return randomUUID();
}
