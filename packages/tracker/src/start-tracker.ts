import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { DisputeTable, LeaseTable, type Random } from '@shoal/swarm';
import { LEASE_TTL_MS } from '@shoal/wire';
import type { Logger } from 'pino';
import { newLeaseId, serveCalls } from './api/calls.ts';
import { TrackerMetrics } from './api/metrics.ts';
import { ApiServer } from './api/server.ts';
import { Directory } from './directory/directory.ts';
import { Disputes } from './disputes/disputes.ts';
import { openIdentity, readIdentity } from './identity/identity.ts';
import { OriginLeases } from './leases/origin-leases.ts';
import { Membership } from './members/membership.ts';
import { OrderBook } from './orders/order-book.ts';
import { References } from './references/references.ts';
import { TrackerStartError } from './start-error.ts';
import { State } from './state/state.ts';

export const DEFAULT_SAMPLE_SIZE = 24;
/** Short enough to be typed. */
const ORDER_ID_BYTES = 5;
const EXPIRE_EVERY_MS = 1_000;
/** How long closing waits for answers under way. */
const CLOSE_DEADLINE_MS = 3_000;

export interface TrackerOptions {
  /** Port 0 takes a free one. */
  listen: { host: string; port: number };
  dataDir: string;
  /** A folder with an identity that is only read. @default the data directory, where it is created at the first start */
  identityDir?: string;
  /** @default 'level' */
  store?: 'level';
  /** Most peers answered per blob. @default 24 */
  sampleSize?: number;
  /** @default 24 hours */
  certificateLifetimeMs?: number;
}

export interface TrackerDependencies {
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
  random: Random;
}

export interface Tracker {
  /** https, as agents of this machine reach it; a wildcard address stands as loopback. */
  url: string;
  joinToken: string;
  /** Shuts a member out, now and after a restart. */
  bar(peerId: string, reason: string): Promise<void>;
  close(): Promise<void>;
}

/** @throws TrackerStartError, or the error of `listen` */
export async function startTracker(options: TrackerOptions, dependencies: TrackerDependencies): Promise<Tracker> {
  const { dataDir, identityDir, sampleSize = DEFAULT_SAMPLE_SIZE, store = 'level' } = options;
  const { logger, clock, random } = dependencies;
  if (store !== 'level')
    throw new TrackerStartError('STORE_UNKNOWN', `the store ${String(store)} is not known; use level`);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // First, because it locks the directory: nobody else then creates the identity at the same time.
  const state = await State.open({ dataDir }, { logger, clock });
  try {
    const identity = identityDir === undefined ? await openIdentity(dataDir, logger) : await readIdentity(identityDir);
    const directory = new Directory({ sampleSize }, { random, isShunned: (peerId) => disputes.isSuspended(peerId) });
    const references = new References({}, { state, clock });
    const leases = new LeaseTable({ leaseTtlMs: LEASE_TTL_MS }, { newLeaseId });
    const { certificateLifetimeMs } = options;
    const membership = new Membership(certificateLifetimeMs === undefined ? {} : { certificateLifetimeMs }, {
      clusterKey: identity.clusterKey,
      joinSecret: identity.joinSecret,
      clock,
      isBarred: (peerId) => state.isBarred(peerId),
    });
    const metrics = new TrackerMetrics(() => ({
      agents: directory.agentCount,
      swarms: directory.swarmCount,
      entries: directory.entryCount,
      leases: leases.size,
      references: state.referenceCount,
      barred: state.barredCount,
      suspended: disputes.suspendedCount,
      orders: orders.openCount,
      connections: server.connections,
    }));
    const disputes = new Disputes({
      table: new DisputeTable(),
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
    });
    const orders = new OrderBook(
      {},
      {
        newId: () => randomBytes(ORDER_ID_BYTES).toString('hex'),
        agents: () => directory.agents(),
        isSuspended: (peerId) => disputes.isSuspended(peerId),
      },
    );
    const server = new ApiServer({ tls: identity.tls, instance: randomUUID() }, { logger, clock, membership, metrics });
    const originLeases = new OriginLeases({ table: leases, directory, disputes });
    serveCalls(server, { membership, directory, leases, originLeases, disputes, references, orders, metrics, clock });
    // A copy: fastify writes into what it is given.
    await server.fastify.listen({ ...options.listen });

    const expiry = setInterval(() => {
      leases.expire(clock());
      references.expire(clock());
      orders.expire(clock());
      for (const peerId of directory.expire(clock())) {
        leases.forgetAgent(peerId);
        orders.gone(peerId, 'the agent does not say anything any more', clock());
      }
    }, EXPIRE_EVERY_MS).unref();
    const url = urlOf(options.listen.host, server.fastify.server.address());
    logger.info({ url, dataDir }, 'the tracker listens');
    return {
      url,
      joinToken: identity.joinToken,
      bar: (peerId, reason) => disputes.bar(peerId, reason),
      async close() {
        clearInterval(expiry);
        references.close();
        const cutOff = setTimeout(() => server.fastify.server.closeAllConnections(), CLOSE_DEADLINE_MS);
        await server.fastify.close();
        clearTimeout(cutOff);
        await state.close();
      },
    };
  } catch (error) {
    await state.close();
    throw error;
  }
}

function urlOf(host: string, address: AddressInfo | string | null): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `https://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
