import {
  announceRequestSchema,
  joinRequestSchema,
  leaseReleaseSchema,
  leaseRenewalSchema,
  leaseRequestSchema,
  nodeReportSchema,
  prefetchIdSchema,
  prefetchProgressSchema,
  prefetchRequestSchema,
  type ReferenceTurn,
  referenceLookupSchema,
  referenceQuerySchema,
  referenceReportSchema,
  reportRequestSchema,
} from '@shoal/wire';
import { z } from 'zod';
import { reportEveryMs } from '../dashboard/dashboard.ts';
import type { Membership } from '../members/membership.ts';
import type { Rooms } from '../rooms.ts';
import { announceAnswerText } from './announce-answer.ts';
import { ApiError } from './api-error.ts';
import type { TrackerMetrics } from './metrics.ts';
import { RateBound } from './rate-bound.ts';
import { type ApiServer, JsonText, MAX_ANNOUNCE_BODY_BYTES } from './server.ts';

/** Per member: orders are for people. */
const ORDER_RATE = { perSecond: 1, burst: 10 };
/** A thousand names and sixteen images. */
const MAX_ORDER_BODY_BYTES: number = 256 * 1024;

const ASK_YOURSELF: ReferenceTurn = { turn: 'ask' };

export interface CallsDependencies {
  /** As they are at each call. @throws NotLeadingError while there are none */
  rooms: () => Rooms;
  membership: Membership;
  metrics: TrackerMetrics;
  /** Whether a page shows what agents tell of themselves. */
  isShown: boolean;
  clock: () => number;
}

/** Every call of the API, each handed to the room that answers it. */
export function serveCalls(server: ApiServer, dependencies: CallsDependencies): void {
  const { rooms, membership, metrics, isShown, clock } = dependencies;

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
      const { directory, leases, disputes, orders, page } = rooms();
      const nowMs = clock();
      directory.announce(member, request, nowMs);
      for (const blob of request.withdraw) leases.withdrawn(blob, member.peerId);
      const wanted = request.blobs.filter(({ state }) => state === 'want').map(({ blob }) => blob);
      const answer = {
        ...directory.introduce(member, wanted, nowMs),
        barred: disputes.avoided(),
        members: directory.agentCount,
        ...(orders.hasNews(member.peerId, nowMs) && { orders: true }),
        ...(page !== undefined && { reportEveryMs: reportEveryMs(directory.agentCount) }),
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
    const answer = rooms().originLeases.ask(member, request, clock());
    metrics.leaseRequest(answer.granted ? answer.source : 'refused');
    return answer;
  });

  server.memberCall('/v1/lease/renew', leaseRenewalSchema, (member, { leaseId, bytes, next, ranges }) =>
    rooms().leases.renew(leaseId, member.peerId, { bytes, next, ...(ranges === undefined ? {} : { ranges }) }, clock()),
  );

  server.memberCall('/v1/lease/release', leaseReleaseSchema, (member, { leaseId, how, next }) => {
    rooms().leases.release(leaseId, member.peerId, { how, next }, clock());
    return {};
  });

  server.memberCall('/v1/report', reportRequestSchema, (member, request) => rooms().disputes.report(member, request));

  server.memberCall('/v1/reference', referenceReportSchema, (member, report) => {
    rooms().references.report(member.peerId, report);
    return {};
  });

  server.memberCall('/v1/reference/ask', referenceLookupSchema, async (member, lookup) => {
    const { disputes, references } = rooms();
    // Who is suspected asks for itself: nobody waits for it, and what it reports is not taken.
    const asked = disputes.isSuspended(member.peerId) ? ASK_YOURSELF : references.ask(member.peerId, lookup);
    const turn = asked instanceof Promise ? await metrics.waitingLookup(asked) : asked;
    metrics.referenceLookup(turn.turn);
    return turn;
  });

  server.memberCall('/v1/reference/find', referenceQuerySchema, (_member, query) => {
    const record = rooms().references.find(query);
    if (record === undefined) throw new ApiError(404, 'NOT_FOUND', 'this reference was not recorded');
    return record;
  });

  server.memberCall('/v1/leave', z.object({}), (member) => {
    const { directory, leases, orders, page } = rooms();
    directory.forget(member.peerId);
    page?.reports.forget(member.peerId);
    leases.forgetAgent(member.peerId);
    orders.gone(member.peerId, 'the agent was stopped', clock());
    return {};
  });

  // One that shows nothing has no such call, like the trackers before it.
  if (isShown) {
    server.memberCall('/v1/node', nodeReportSchema, (member, report) => {
      rooms().page?.reports.take(member.peerId, report, clock());
      return {};
    });
  }

  servePrefetchCalls(server, dependencies);
}

function servePrefetchCalls(server: ApiServer, { rooms, clock }: CallsDependencies): void {
  const rate = new RateBound(ORDER_RATE, { clock });

  server.memberCall(
    '/v1/prefetch/order',
    prefetchRequestSchema,
    (member, request) => {
      if (!rate.take(member.peerId)) throw new ApiError(429, 'TOO_MANY_REQUESTS', 'too many orders; wait a moment');
      return rooms().orders.place(member.peerId, request, clock());
    },
    { maxBodyBytes: MAX_ORDER_BODY_BYTES },
  );

  server.memberCall(
    '/v1/prefetch/find',
    prefetchIdSchema,
    (_member, { id }) => rooms().orders.find(id) ?? unknownOrder(),
  );

  server.memberCall('/v1/prefetch/list', z.object({}), () => ({ orders: rooms().orders.list() }));

  server.memberCall(
    '/v1/prefetch/cancel',
    prefetchIdSchema,
    (_member, { id }) => rooms().orders.cancel(id, clock()) ?? unknownOrder(),
  );

  server.memberCall('/v1/prefetch/tasks', z.object({}), (member) => ({ tasks: rooms().orders.tasks(member.peerId) }));

  server.memberCall('/v1/prefetch/progress', prefetchProgressSchema, (member, progress) =>
    rooms().orders.progress(member.peerId, progress, clock()),
  );
}

function unknownOrder(): never {
  throw new ApiError(404, 'NOT_FOUND', 'no such order is known');
}
