import { randomUUID } from 'node:crypto';
import type { LeaseTable } from '@shoal/swarm';
import {
  announceRequestSchema,
  joinRequestSchema,
  leaseReleaseSchema,
  leaseRenewalSchema,
  leaseRequestSchema,
  referenceLookupSchema,
  referenceQuerySchema,
  referenceReportSchema,
  reportRequestSchema,
} from '@shoal/wire';
import { z } from 'zod';
import type { Directory } from '../directory/directory.ts';
import type { Disputes } from '../disputes/disputes.ts';
import type { OriginLeases } from '../leases/origin-leases.ts';
import type { Membership } from '../members/membership.ts';
import type { References } from '../references/references.ts';
import { announceAnswerText } from './announce-answer.ts';
import { ApiError } from './api-error.ts';
import type { TrackerMetrics } from './metrics.ts';
import { type ApiServer, JsonText, MAX_ANNOUNCE_BODY_BYTES } from './server.ts';

export interface Rooms {
  membership: Membership;
  directory: Directory;
  leases: LeaseTable;
  originLeases: OriginLeases;
  disputes: Disputes;
  references: References;
  metrics: TrackerMetrics;
  clock: () => number;
}

/** Every call of the API, each handed to the room that answers it. */
export function serveCalls(server: ApiServer, rooms: Rooms): void {
  const { membership, directory, leases, originLeases, disputes, references, metrics, clock } = rooms;

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
    (member, request): JsonText => {
      const nowMs = clock();
      directory.announce(member, request, nowMs);
      for (const blob of request.withdraw) leases.withdrawn(blob, member.peerId);
      const wanted = request.blobs.filter(({ state }) => state === 'want').map(({ blob }) => blob);
      const answer = {
        ...directory.introduce(member, wanted, nowMs),
        barred: disputes.avoided(),
        members: directory.agentCount,
      };
      const { acquaintances: count } = request;
      return new JsonText(
        announceAnswerText(
          count === undefined ? answer : { ...answer, acquaintances: directory.acquaint(member, count) },
        ),
      );
    },
    { maxBodyBytes: MAX_ANNOUNCE_BODY_BYTES },
  );

  server.memberCall('/v1/lease', leaseRequestSchema, (member, request) => {
    const answer = originLeases.ask(member, request, clock());
    metrics.leaseRequest(answer.granted ? answer.source : 'refused');
    return answer;
  });

  server.memberCall('/v1/lease/renew', leaseRenewalSchema, (member, { leaseId, bytes, next, ranges }) =>
    leases.renew(leaseId, member.peerId, { bytes, next, ...(ranges === undefined ? {} : { ranges }) }, clock()),
  );

  server.memberCall('/v1/lease/release', leaseReleaseSchema, (member, { leaseId, how, next }) => {
    leases.release(leaseId, member.peerId, { how, next }, clock());
    return {};
  });

  server.memberCall('/v1/report', reportRequestSchema, (member, request) => disputes.report(member, request));

  server.memberCall('/v1/reference', referenceReportSchema, (member, report) => {
    references.report(member.peerId, report);
    return {};
  });

  server.memberCall('/v1/reference/ask', referenceLookupSchema, async (member, lookup) => {
    const turn = await references.ask(member.peerId, lookup);
    metrics.referenceLookup(turn.turn);
    return turn;
  });

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
