/** All that a tracker knows while it answers: built once by a tracker of its own, and by a replica whenever it begins to lead. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import { DisputeTable, LeaseTable, type Random } from '@shoal/swarm';
import { ANNOUNCE_TTL_MS, LEASE_TTL_MS } from '@shoal/wire';
import type { Logger } from 'pino';
import type { TrackerMetrics } from './api/metrics.ts';
import { ActiveBlobs } from './dashboard/active-blobs.ts';
import { NodeReports } from './dashboard/node-reports.ts';
import { type DashboardSource, TrackerSource } from './dashboard/source.ts';
import { Directory } from './directory/directory.ts';
import { Disputes } from './disputes/disputes.ts';
import { OriginLeases } from './leases/origin-leases.ts';
import type { Membership } from './members/membership.ts';
import { OrderBook } from './orders/order-book.ts';
import { References } from './references/references.ts';
import { currentValue, DISPUTES_KEY, type HandedOver, keyOfBlob, keyOfOrder, takeOver } from './replica/handover.ts';
import { Journal } from './replica/journal.ts';
import type { Shelf } from './state/shelf.ts';
import { State } from './state/state.ts';

/** Short enough to be typed. */
const ORDER_ID_BYTES = 5;
const EXPIRE_EVERY_MS = 1_000;
/** How long agents need to tell a new leader what they hold. */
const SETTLING_MS = 1_500;
/** Agents that are not back by then, in orders that were left to this tracker, are gone. */
const MISSED_AFTER_MS: number = ANNOUNCE_TTL_MS;
/** What is on the shelf of a blob that was forgotten is looked for so often. */
const TIDY_EVERY_MS = 60_000;

export interface RoomsOptions {
  sampleSize: number;
  /** Whether a page shows them. */
  isShown: boolean;
  /** As that page tells it. */
  version: string;
}

export interface RoomsDependencies {
  /** Bars and references. Closed with the rooms. */
  shelf: Shelf;
  /** What the next leader goes on with: leases, disputes, orders. @default nobody does */
  workShelf?: Shelf;
  membership: Membership;
  metrics: TrackerMetrics;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
  random: Random;
}

export interface Rooms {
  readonly state: State;
  readonly directory: Directory;
  readonly leases: LeaseTable;
  readonly originLeases: OriginLeases;
  readonly disputes: Disputes;
  readonly references: References;
  readonly orders: OrderBook;
  /** What a page shows of them, where there is one. */
  readonly page: { readonly reports: NodeReports; readonly source: DashboardSource } | undefined;
  /** Resolves when the next leader would know of all that changed. @throws NotLeadingError, or Error when the store is away */
  commit(): Promise<void>;
  /** Writes also what is otherwise written later. */
  flush(): Promise<void>;
  /** Ends all waiting. */
  close(): Promise<void>;
}

/** @throws whatever reading a shelf does; the shelves are then left open */
export async function openRooms(options: RoomsOptions, dependencies: RoomsDependencies): Promise<Rooms> {
  const { shelf, workShelf, membership, metrics, logger, clock, random } = dependencies;
  // Of several trackers the next one shall lead at once.
  const state = await State.open({ referencesLater: workShelf !== undefined }, { shelf, logger, clock });
  const journal =
    workShelf &&
    new Journal({ shelf: workShelf, logger, currentValue: (key) => currentValue(key, handedOver, clock()) });
  const leases = new LeaseTable(
    { leaseTtlMs: LEASE_TTL_MS },
    {
      // Unguessable, so that nobody renews a lease they were not given.
      newLeaseId: () => randomUUID(),
      onChange: (blob) => {
        if (journal === undefined) return;
        kept.add(blob);
        journal.note(keyOfBlob(blob));
      },
    },
  );
  const table = new DisputeTable();
  const directory: Directory = new Directory(options, { random, isShunned: (peerId) => disputes.isSuspended(peerId) });
  const references = new References({}, { state, clock });
  const orders: OrderBook = new OrderBook(
    {},
    {
      newId: () => randomBytes(ORDER_ID_BYTES).toString('hex'),
      agents: () => directory.agents(),
      isSuspended: (peerId) => disputes.isSuspended(peerId),
      onChange: (id, what) => {
        if (what === 'order') journal?.note(keyOfOrder(id));
        else journal?.noteLater(keyOfOrder(id));
      },
    },
  );
  const handedOver: HandedOver = { leases, disputes: table, orders };
  const kept =
    workShelf === undefined ? new Set<BlobId>() : await takeOver(workShelf, handedOver, { nowMs: clock(), logger });
  const disputes: Disputes = new Disputes({
    table,
    membership,
    state,
    metrics,
    logger,
    clock,
    countOthers: (peerId) => directory.countOthers(peerId),
    onSuspected: (peerId) => references.distrust(peerId),
    onBarred: (peerId) => {
      directory.forget(peerId);
      leases.forgetAgent(peerId);
      references.distrust(peerId);
      orders.distrust(peerId, clock());
    },
    onChange: () => journal?.note(DISPUTES_KEY),
  });
  const settledAtMs = workShelf === undefined ? Number.NEGATIVE_INFINITY : clock() + SETTLING_MS;
  const originLeases = new OriginLeases({
    table: leases,
    directory,
    disputes,
    isSettling: () => clock() < settledAtMs,
  });

  const pageOf = (): Rooms['page'] => {
    const blobs = new ActiveBlobs();
    const reports = new NodeReports({ directory, blobs });
    const source = new TrackerSource({
      version: options.version,
      ...{ directory, state, reports, blobs, clock },
      counts: () => ({ suspended: disputes.suspendedCount, leases: leases.size, orders: orders.openCount }),
      isSuspended: (peerId) => disputes.isSuspended(peerId),
    });
    return { reports, source };
  };

  const page = options.isShown ? pageOf() : undefined;

  const expiry = setInterval(() => {
    leases.expire(clock());
    references.expire(clock());
    orders.expire(clock());
    for (const peerId of directory.expire(clock())) {
      leases.forgetAgent(peerId);
      page?.reports.forget(peerId);
      orders.gone(peerId, 'the agent does not say anything any more', clock());
    }
  }, EXPIRE_EVERY_MS).unref();
  const missed = setTimeout(() => {
    if (workShelf === undefined) return;
    const there = new Set([...directory.agents()].map(({ peerId }) => peerId));
    for (const peerId of orders.busy()) {
      if (!there.has(peerId)) orders.gone(peerId, 'the agent did not come back', clock());
    }
  }, MISSED_AFTER_MS).unref();
  const tidy = setInterval(() => {
    for (const blob of kept) {
      if (leases.knows(blob)) continue;
      kept.delete(blob);
      journal?.note(keyOfBlob(blob));
    }
  }, TIDY_EVERY_MS).unref();

  return {
    state,
    directory,
    leases,
    originLeases,
    disputes,
    references,
    orders,
    page,
    commit: () => journal?.commit() ?? Promise.resolve(),
    async flush() {
      await journal?.close();
      await state.flush();
    },
    async close() {
      clearInterval(expiry);
      clearTimeout(missed);
      clearInterval(tidy);
      references.close();
      await journal?.close();
      await state.close();
    },
  };
}
