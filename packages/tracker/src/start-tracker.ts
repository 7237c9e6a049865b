import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { hostAndPort, urlOf } from '@shoal/process/addresses';
import type { Random } from '@shoal/swarm';
import { parseJoinToken } from '@shoal/wire';
import type { Logger } from 'pino';
import { serveCalls } from './api/calls.ts';
import { NOTHING_COUNTED, type TrackerCounts, TrackerMetrics } from './api/metrics.ts';
import { ApiServer } from './api/server.ts';
import { type OpenedDashboard, openDashboard } from './dashboard/dashboard.ts';
import { IDENTITY_FILES, openIdentity, readIdentity, type TrackerIdentity } from './identity/identity.ts';
import { Membership } from './members/membership.ts';
import { openReplica, type ReplicaDependencies } from './replica/open-replica.ts';
import { NotLeadingError } from './replica/redis-shelf.ts';
import { type Seat, SoleSeat } from './replica/seat.ts';
import { openRooms, type Rooms } from './rooms.ts';
import { TrackerStartError } from './start-error.ts';
import { LevelShelf } from './state/level-shelf.ts';
import type { Shelf } from './state/shelf.ts';

export const DEFAULT_SAMPLE_SIZE = 24;
const CLUSTER_NAME_CHARACTERS = 22;
/** How long closing waits for answers under way. */
const CLOSE_DEADLINE_MS = 3_000;

export interface TrackerOptions {
  /** Port 0 takes a free one. */
  listen: { host: string; port: number };
  dataDir: string;
  /** A folder with an identity that is only read. @default the data directory, where it is created at the first start */
  identityDir?: string;
  /** `level`: in the data directory. A redis:// or rediss:// URL: there, shared by all trackers of this identity. @default 'level' */
  store?: string;
  /** https, as the other trackers on the store reach this one. @default where it listens */
  advertise?: string;
  /** Most peers answered per blob. @default 24 */
  sampleSize?: number;
  /** @default 24 hours */
  certificateLifetimeMs?: number;
  /** A page for people; `names` are those of the internet by which it may be asked. @default none */
  dashboard?: { listen: { host: string; port: number }; names: readonly string[] };
  /** As the page tells it. @default 'unknown' */
  version?: string;
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
  /** The page for people, where there is one. */
  dashboard: Pick<OpenedDashboard, 'url' | 'token' | 'tokenFile' | 'isNew'> | undefined;
  /** Whether it answers calls itself: of several trackers on one store, one does. */
  readonly leads: boolean;
  /** Shuts a member out, now and after a restart. @throws NotLeadingError */
  bar(peerId: string, reason: string): Promise<void>;
  close(): Promise<void>;
}

/** What answers: a seat, and the rooms behind it while they are this process's. */
interface Place {
  seat: Seat;
  rooms: () => Rooms | undefined;
  takeovers: () => number;
  /** The API listens. */
  open(url: string): Promise<void>;
  /** Nothing new is to be answered here. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

/** @throws TrackerStartError, or the error of `listen` */
export async function startTracker(options: TrackerOptions, dependencies: TrackerDependencies): Promise<Tracker> {
  const { dataDir, identityDir, store = 'level', certificateLifetimeMs } = options;
  const { logger, clock, random } = dependencies;
  const isShown = options.dashboard !== undefined;
  const isShared = /^rediss?:\/\//.test(store);
  if (store !== 'level' && !isShared)
    throw new TrackerStartError('STORE_UNKNOWN', `the store ${store} is not known; use level, or a redis:// address`);
  if (isShared && identityDir === undefined) throw notShared();
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // First, because it locks the directory: nobody else then creates the identity at the same time.
  const level = isShared ? undefined : await LevelShelf.open(dataDir);
  let place: Place | undefined;
  let dashboard: OpenedDashboard | undefined;
  try {
    const identity = identityDir === undefined ? await openIdentity(dataDir, logger) : await readIdentity(identityDir);
    const rooms = (): Rooms | undefined => place?.rooms();
    const membership = new Membership(certificateLifetimeMs === undefined ? {} : { certificateLifetimeMs }, {
      clusterKey: identity.clusterKey,
      joinSecret: identity.joinSecret,
      clock,
      isBarred: (peerId) => rooms()?.state.isBarred(peerId) ?? false,
    });
    const metrics = new TrackerMetrics(() => ({
      ...countsOf(rooms()),
      takeovers: place?.takeovers() ?? 0,
      connections: server.connections,
    }));
    const openAll = (shelf: Shelf, workShelf?: Shelf): Promise<Rooms> =>
      openRooms(
        { sampleSize: options.sampleSize ?? DEFAULT_SAMPLE_SIZE, isShown, version: options.version ?? 'unknown' },
        { shelf, ...(workShelf && { workShelf }), membership, metrics, logger, clock, random },
      );
    place =
      level === undefined
        ? await shared(store, identity, {
            logger,
            monotonic: () => performance.now(),
            openRooms: openAll,
            onChange: () => server.closeIdleConnections(),
            onPassed: (outcome) => metrics.passed(outcome),
          })
        : sole(await openAll(level));
    const { seat } = place;
    const server: ApiServer = new ApiServer({ tls: identity.tls }, { logger, clock, membership, metrics, seat });
    serveCalls(server, { rooms: () => rooms() ?? notLeading(), membership, metrics, isShown, clock });
    if (options.dashboard !== undefined) {
      dashboard = await openDashboard(
        { ...options.dashboard, dataDir, identityDir, tls: identity.tls },
        { source: () => (rooms() ?? notLeading()).page?.source ?? notLeading(), logger, clock },
      );
    }
    // A copy: fastify writes into what it is given.
    await server.fastify.listen({ ...options.listen });
    const url = urlOf('https', options.listen.host, server.fastify.server.address());
    logger.info({ url, dataDir }, 'the tracker listens');
    const placed = place;
    await placed.open(options.advertise ?? reachableUrl(url, options.listen.host));
    return {
      url,
      joinToken: identity.joinToken,
      dashboard,
      get leads() {
        return rooms() !== undefined;
      },
      bar: (peerId, reason) => (rooms() ?? notLeading()).disputes.bar(peerId, reason),
      async close() {
        await placed.leave();
        await dashboard?.close();
        const cutOff = setTimeout(() => server.fastify.server.closeAllConnections(), CLOSE_DEADLINE_MS);
        await server.fastify.close();
        clearTimeout(cutOff);
        await placed.close();
      },
    };
  } catch (error) {
    await dashboard?.close();
    if (place === undefined) await level?.close();
    else {
      await place.leave();
      await place.close();
    }
    throw error;
  }
}

function sole(rooms: Rooms): Place {
  return {
    seat: new SoleSeat(randomUUID()),
    rooms: () => rooms,
    takeovers: () => 0,
    open: async () => undefined,
    // Whoever waits for another's answer is told to come back.
    leave: async () => rooms.references.close(),
    close: () => rooms.close(),
  };
}

async function shared(
  store: string,
  { tls, joinToken }: TrackerIdentity,
  dependencies: ReplicaDependencies,
): Promise<Place> {
  // Of the pin: replicas with another identity are another cluster, and do not meet.
  const cluster = parseJoinToken(joinToken)?.pin.slice(0, CLUSTER_NAME_CHARACTERS) ?? '';
  const { seat, close } = await openReplica({ store, cluster, certificate: tls.cert }, dependencies);
  return {
    seat,
    rooms: () => seat.rooms,
    takeovers: () => seat.takeovers,
    open: (url) => seat.start(url),
    leave: () => seat.resign(),
    close: async () => close(),
  };
}

function countsOf(rooms: Rooms | undefined): TrackerCounts {
  if (rooms === undefined) return NOTHING_COUNTED;
  const { directory, leases, state, disputes, orders } = rooms;
  return {
    ...NOTHING_COUNTED,
    leading: 1,
    agents: directory.agentCount,
    swarms: directory.swarmCount,
    entries: directory.entryCount,
    leases: leases.size,
    references: state.referenceCount,
    barred: state.barredCount,
    suspended: disputes.suspendedCount,
    orders: orders.openCount,
  };
}

function notLeading(): never {
  throw new NotLeadingError();
}

function notShared(): TrackerStartError {
  return new TrackerStartError(
    'IDENTITY_NOT_SHARED',
    'several trackers on one store are one tracker to their agents, so all of them need the same identity: give each the same ' +
      `--identity DIR with ${IDENTITY_FILES.join(', ')}. A tracker started once without --store makes them in its data folder.`,
  );
}

/** A wildcard address says nothing to others: the first address of this machine that is not its own alone stands for it. */
function reachableUrl(url: string, host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return url;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outer = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const found = outer.find(({ family }) => family === 'IPv4') ?? (host === '::' ? outer[0] : undefined);
  return found === undefined ? url : `https://${hostAndPort(found.address, new URL(url).port)}`;
}
