/**
 * Builds one agent out of its rooms and takes it apart again. The only place that knows them all.
 *
 * Start: store → identity → tracker client → peers → mirror → admin, so that nobody is told of this agent before it can
 * answer. Stop: drained first (`drain.ts`), then the other way round, so that nothing is asked of a room that is gone.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type BlobId, blobIdOf, type Digest } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import { parseJoinToken } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { RepositoryAccess } from './access/access.ts';
import { Admissions } from './access/admission.ts';
import { AskingScopes } from './access/asking-scope.ts';
import { ClusterLookups } from './access/cluster-lookups.ts';
import { ReferenceResolver } from './access/reference-resolver.ts';
import { startAdmin } from './admin/admin.ts';
import { CacheDesk } from './admin/cache-desk.ts';
import { createMetrics } from './admin/metrics.ts';
import { AgentCheck } from './check/agent-check.ts';
import type { AgentConfig } from './config/agent-config.ts';
import { nameOfHost } from './config/node-name.ts';
import { checkPassedSocket } from './config/passed-socket.ts';
import { StartError, startErrorFrom } from './config/start-error.ts';
import { drain } from './drain.ts';
import { announceStored, join, meetKnownPeers, savedMembership, saveMembership } from './joining.ts';
import { KnownPeers } from './known-peers.ts';
import { startMirror } from './mirror/mirror.ts';
import { nodeReport } from './node-report.ts';
import { dockerConfigProblem } from './origin/credentials.ts';
import type { RateLimitReading } from './origin/rate-limits.ts';
import { createOriginClient } from './origin/undici-origin.ts';
import { IdentityError, loadOrCreateIdentity } from './peers/identity.ts';
import { startPeerNetwork } from './peers/network.ts';
import type { TunablePeerNetwork } from './peers/peer-rates.ts';
import { FetchedTags } from './prefetch/fetched-tags.ts';
import { ownPlatform } from './prefetch/own-platform.ts';
import { Prefetch } from './prefetch/prefetch.ts';
import { sharedNameOf } from './pull/node-registry.ts';
import { OriginTurns } from './pull/origin-turns.ts';
import { PieceMemory } from './pull/piece-memory.ts';
import { PullRegistry } from './pull/pull-registry.ts';
import { StoredHoldings } from './pull/stored-holdings.ts';
import { ChangingLimit } from './rate/changing-limit.ts';
import type { RuntimeContent } from './runtime-content/runtime-content.ts';
import type { BlobRecord } from './store/blob-store.ts';
import { Expiry } from './store/expiry.ts';
import { freeDiskBytes } from './store/free-space.ts';
import { openStore } from './store/open-store.ts';
import { configuredTracing } from './tracing/configured-tracing.ts';
import { TracedOrigin } from './tracing/traced-origin.ts';
import { createTrackerClient, type StartableTrackerClient } from './tracker-client/joined-tracker-client.ts';
import { Tuning } from './tuning.ts';

export interface RunningAgent {
  /** `http://HOST:PORT` */
  mirrorUrl: string;
  adminUrl: string;
  peerId: string;
  /** Multiaddrs without /p2p. */
  peerAddresses: string[];
  /** Takes over what a running agent can of these settings. @throws StoreError: the rest was taken over */
  retune(next: AgentConfig): Promise<void>;
  /** Lets downloads go on for the drain timeout, says goodbye to tracker and peers, closes the store. */
  stop(): Promise<void>;
}

export interface AgentOptions {
  logger: Logger;
  /** Of the program, as its status tells it. */
  version: string;
  /** The mirror's listening socket, where it was handed over (`passedMirrorSocket`). */
  mirrorFd?: number | undefined;
}

/** Members that an agent keeps in touch with before it wants anything: a crowd that begins at once begins among these. */
const ACQUAINTANCES = 8;
const MAX_RATE_LIMITS = 256;

/** @throws StartError, in words for the person who started it */
export async function startAgent(config: AgentConfig, options: AgentOptions): Promise<RunningAgent> {
  const { logger } = options;
  const stops: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closeRoom of stops.splice(0).reverse()) {
      await closeRoom().catch((err: unknown) => logger.warn({ err }, 'stopping'));
    }
  };
  try {
    const { drainAll, ...running } = await start(config, options, stops);
    const stop = async (): Promise<void> => {
      await drainAll().catch((err: unknown) => logger.warn({ err }, 'draining'));
      await close();
    };
    return { ...running, stop };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  config: AgentConfig,
  { logger, version, mirrorFd }: AgentOptions,
  stops: (() => Promise<void>)[],
): Promise<Omit<RunningAgent, 'stop'> & { drainAll: () => Promise<void> }> {
  const startedAtMs = performance.now();
  const clock = Date.now;
  const metrics = createMetrics({ version });
  const data = { kind: 'data', flag: '--data', path: config.dataDir } as const;

  const tuning = new Tuning(config);
  let network: TunablePeerNetwork | undefined;
  let tracker: StartableTrackerClient | undefined;
  let pulls: PullRegistry | undefined;
  let prefetch: Prefetch | undefined;
  let content: RuntimeContent | undefined;
  const name = config.name ?? nameOfHost(hostname());
  let draining = false;
  const withdraw = ({ id }: BlobRecord): void => {
    network?.withdraw(id);
    tracker?.withdraw([id]);
  };
  const ownStore = await openStore(
    {
      dataDir: config.dataDir,
      quotaBytes: config.cacheSizeBytes,
      highWater: config.cache.highWaterPercent / 100,
      lowWater: config.cache.lowWaterPercent / 100,
      minFreeDiskBytes: config.minFreeDiskBytes,
    },
    {
      logger: logger.child({ room: 'store' }),
      clock,
      onEvicted: (blob, reason) => {
        if (content?.has(blob.id) !== true) withdraw(blob);
        metrics.cacheRemoved(reason, blob.sizeBytes);
      },
    },
  ).catch((error: unknown) => {
    throw startErrorFrom(error, data);
  });
  stops.push(() => ownStore.close());
  if (config.cache.ttlMs > 0) {
    const dependencies = { store: ownStore, logger: logger.child({ room: 'store' }), clock };
    const expiry = new Expiry({ ttlMs: config.cache.ttlMs }, dependencies);
    await expiry.start();
    stops.push(() => expiry.stop());
  }
  const knownPeers = new KnownPeers(ownStore.notes);
  // What is only remembered for the next start ends nothing when the disk is full.
  const noted = (writing: Promise<void>): void => {
    writing.catch((error: unknown) => logger.warn({ err: error }, 'not written down for the next start'));
  };
  await knownPeers.load();
  const identity = await loadOrCreateIdentity(config.dataDir).catch((error: unknown) => {
    throw identityFailure(error, config.dataDir);
  });
  const idOf = (registry: string, digest: Digest): BlobId => blobIdOf(sharedNameOf(registry, identity.peerId), digest);
  const { socket, root, namespaces } = config.containerd;
  if (socket !== undefined) {
    // With what speaks gRPC, for which other agents need no memory.
    const room = await import('./runtime-content/runtime-content.ts');
    content = new room.RuntimeContent(
      { socket, root, namespaces },
      {
        own: ownStore,
        idOf,
        onHeld: ({ id, sizeBytes }) => {
          if (draining) return;
          tracker?.have([id]);
          // Who wants it already asks anew for all that is here.
          network?.publish(id, sizeBytes, 0);
        },
        onLost: withdraw,
        logger: logger.child({ room: 'runtime-content' }),
        clock,
      },
    );
  }
  const store = content?.store ?? ownStore;

  const client = createTrackerClient(
    {
      trackers: config.trackers,
      joinToken: config.joinToken ?? '',
      zone: config.zone,
      name,
      takesOrders: config.acceptPrefetch,
    },
    {
      identity,
      addresses: () => network?.addresses() ?? [],
      onMembership: (membership) => noted(saveMembership(store, membership)),
      savedMembership: config.trackers.length === 0 ? undefined : await savedMembership(store),
      onPeers: (blob, peers) => pulls?.found(blob, peers),
      acquaintancesWanted: () => ACQUAINTANCES - (network?.connected().length ?? ACQUAINTANCES),
      onAcquaintances: (peers) => network?.dial(peers),
      onCall: (call, result, seconds) => metrics.trackerCall(call, result, seconds),
      onBarred: () => pulls?.barredChanged(),
      onOrders: () => prefetch?.heard(),
      report: () => nodeReport(version, { metrics, store, network, pulls }),
      logger: logger.child({ room: 'tracker-client' }),
      clock,
    },
  );
  tracker = client;

  const tracing = await configuredTracing(config, { name, version, peerId: identity.peerId }, { metrics, logger });
  if (tracing !== undefined) stops.push(() => tracing.close());
  const { limits } = config;
  const downloads = new ChangingLimit(limits.downloadBytesPerSecond);
  const pieceMemory = new PieceMemory(limits.pieceMemoryBytes);
  const peers: TunablePeerNetwork = await startPeerNetwork(
    {
      listen: config.peerListen,
      ...(config.peerAnnounce === undefined ? {} : { announce: config.peerAnnounce }),
      privateKeySeed: identity.seed,
      zone: config.zone,
      maxConnections: config.peers.maxConnections,
      uploadSlots: config.peers.uploadSlots,
      uploadBytesPerSecond: limits.uploadBytesPerSecond,
      uploadBytesPerSecondPerPeer: limits.uploadBytesPerSecondPerPeer,
      downloadBytesPerSecondPerPeer: limits.downloadBytesPerSecondPerPeer,
    },
    {
      holdings: new StoredHoldings({
        store,
        partial: (blob) => pulls?.partial(blob),
        attest: (piece, sha256) => peers.attest(piece, sha256),
        offersCommitted: () => !draining,
      }),
      membership: () => client.membership(),
      logger: logger.child({ room: 'peers' }),
      clock,
      downloadLane: downloads.laneIfLimited(),
      hooks: {
        onBytesSent: (bytes) => metrics.bytes('peer', 'out', bytes),
        onBytesReceived: (bytes) => metrics.bytes('peer', 'in', bytes),
        onKnownPeer: (peer) => noted(knownPeers.remember(peer)),
        onStranger: () => metrics.strangerMet(),
      },
    },
  ).catch((error: unknown) => {
    throw startErrorFrom(error, { kind: 'listen', flag: '--peer-listen', address: config.peerListen.join(', ') });
  });
  network = peers;
  stops.push(() => peers.stop());
  await join(client, config, identity.peerId, logger);
  stops.push(() => client.close());
  await announceStored(store, client);

  const { registries, dockerConfigs } = config;
  await checkDockerConfigs(dockerConfigs);
  const rateLimits = new LRUCache<string, RateLimitReading>({ max: MAX_RATE_LIMITS });
  const registryClient = createOriginClient(
    { registries, dockerConfigs, allowRegistries: config.allowRegistries, deadlines: config.origin },
    {
      logger: logger.child({ room: 'origin' }),
      downloadLane: downloads.lane(),
      onBytes: (_registry, bytes) => metrics.bytes('origin', 'in', bytes),
      onRequest: (host, kind, status) => {
        metrics.originRequest(kind, status);
        if (status === 429) metrics.rateLimited(host);
      },
      onRateLimit: (host, reading) => {
        rateLimits.set(host, reading);
        metrics.rateLimit(host, reading.remaining, reading.limit);
      },
    },
  );
  stops.push(() => registryClient.close());
  const origin = tracing === undefined ? registryClient : new TracedOrigin(registryClient);
  const registry = new PullRegistry(
    { zone: config.zone },
    {
      store,
      network: peers,
      tracker: client,
      origin,
      logger: logger.child({ room: 'pull' }),
      clock,
      random: seededRandom(randomBytes(4).readUInt32LE()),
      pieceMemory,
      originTurns: new OriginTurns(clock),
      onPieceRejected: (reason) => metrics.pieceRejected(reason),
      onPieceFailed: (cause) => metrics.pieceFailed(cause),
      onLease: (source) => metrics.lease(source),
      onAudit: (result) => metrics.audit(result),
      onLookup: (isHit) => metrics.cacheLookup(isHit),
      onStoreBytes: (bytes) => metrics.bytes('store', 'in', bytes),
      onPullEnded: (result, source, seconds) => metrics.pullEnded(result, source, seconds),
    },
  );
  pulls = registry;
  content?.start();
  stops.push(async () => content?.stop());
  // The tracker has been asked before, when this agent joined.
  registry.barredChanged();
  stops.push(() => registry.close());
  const stopMeeting = meetKnownPeers(knownPeers, client, peers);
  stops.push(async () => stopMeeting());

  const { grantMs, outageMs } = config.access;
  const { tags } = tuning;
  const joinSecret = parseJoinToken(config.joinToken ?? '')?.secret;
  const scopes = new AskingScopes({ registries, joinSecret, hasDockerConfig: dockerConfigs.length > 0 });
  const lookups = new ClusterLookups({ tags }, { origin, tracker: client, scopes, now: clock });
  const kept = { notes: store.notes, logger: logger.child({ room: 'access' }), now: clock };
  const openRegistries = registriesOpenToClients(config);
  const admissions = new Admissions({ openRegistries, grantMs, outageMs }, kept);
  const access = new RepositoryAccess({}, { ...kept, admissions, origin, lookups });
  const references = new ReferenceResolver(tags, { ...kept, admissions, lookups });
  await Promise.all([admissions.prune(), access.prune(), references.prune()]);
  const fetchedTags = new FetchedTags();
  const ordered = new Prefetch(
    {
      name,
      zone: config.zone,
      takesOrders: config.acceptPrefetch,
      ownPlatform: ownPlatform(process.platform, process.arch),
      hasTracker: config.trackers.length > 0,
    },
    {
      origin,
      lookups,
      pulls: registry,
      tags: fetchedTags,
      quotaBytes: () => store.usage().quotaBytes,
      orders: client.orders,
      clusterSize: () => client.clusterSize(),
      logger: logger.child({ room: 'prefetch' }),
      clock,
    },
  );
  prefetch = ordered;
  stops.push(() => ordered.close());
  const mirror = await startMirror(
    { ...config.mirror, fd: mirrorFd, defaultRegistry: config.defaultRegistry },
    {
      pulls: registry,
      origin,
      access,
      references,
      logger: logger.child({ room: 'mirror' }),
      observer: {
        onRequest: ({ kind, result, seconds }) => metrics.mirrorRequest(kind, result, seconds),
        onFirstByte: (kind, seconds) => metrics.firstByte(kind, seconds),
        onBytesToClient: (bytes) => metrics.bytes('client', 'out', bytes),
      },
      tracer: tracing,
      now: () => performance.now(),
    },
  ).catch((error: unknown) => {
    if (mirrorFd === undefined)
      throw startErrorFrom(error, { kind: 'listen', flag: '--mirror', address: config.mirror });
    const address = `the socket that is handed over (descriptor ${mirrorFd})`;
    throw startErrorFrom(error, { kind: 'listen', flag: 'ListenStream= in shoal-agent.socket', address });
  });
  stops.push(async () => void (await mirror.close()));
  if (mirrorFd !== undefined) await checkPassedSocket(mirror.address, config.mirror);

  metrics.observe(async () => {
    const { bytes, blobs, quotaBytes } = store.usage();
    const { sending, waiting } = peers.uploads();
    return {
      cacheBytes: bytes,
      cacheQuotaBytes: quotaBytes,
      cacheBlobs: blobs,
      cachePinnedBytes: store.pins.heldBytes(),
      diskFreeBytes: await freeDiskBytes(config.dataDir).catch(() => undefined),
      diskFloorBytes: tuning.minFreeDiskBytes,
      peers: peers.connected().length,
      members: client.clusterSize(),
      pullsOpen: registry.openCount(),
      requestsOpen: mirror.open,
      uploadsSending: sending,
      uploadsWaiting: waiting,
      pieceMemoryLentBytes: pieceMemory.lentBytes,
      pieceMemoryWaiting: pieceMemory.waiting,
      trackerReachable: config.trackers.length === 0 ? undefined : client.reachable(),
      draining,
      runtimeContent: content?.report(),
    };
  });
  const upSeconds = (): number => (performance.now() - startedAtMs) / 1_000;
  const check = new AgentCheck(
    {
      version,
      zone: config.zone,
      mirror: mirror.address,
      mirrorHandedOver: mirrorFd !== undefined,
      peerListen: config.peerListen,
      trackers: config.trackers,
      joinToken: config.joinToken ?? '',
      dataDir: config.dataDir,
      minFreeDiskBytes: config.minFreeDiskBytes,
      registries,
    },
    {
      identity,
      upSeconds,
      peers,
      tracker: client,
      store,
      runtimeContent: () => content?.report(),
      origin,
      rateLimit: (host) => rateLimits.get(host),
      clock,
    },
  );
  stops.push(async () => check.close());
  const admin = await startAdmin(config.admin, {
    metrics,
    // A pull works without a tracker, so that alone makes no agent unready.
    readiness: () => ({ ready: !draining, reasons: draining ? ['the agent is stopping'] : [] }),
    status: () => ({
      version,
      upSeconds: upSeconds(),
      peerId: identity.peerId,
      mirror: `http://${mirror.address}`,
      name,
      zone: config.zone,
      trackers: config.trackers,
      trackerReachable: client.reachable(),
      members: client.clusterSize(),
      peers: peers.connected(),
      strangers: peers.strangers(),
      cache: store.usage(),
      containerd: content?.report(),
      bytes: {
        fromPeers: metrics.bytesSoFar('peer', 'in'),
        fromOrigin: metrics.bytesSoFar('origin', 'in'),
        fromStore: metrics.bytesSoFar('store', 'in'),
        toPeers: metrics.bytesSoFar('peer', 'out'),
        toClients: metrics.bytesSoFar('client', 'out'),
      },
      pulls: registry.progress(),
    }),
    forget: (repository, tag) => references.forget(repository, tag),
    check,
    cache: new CacheDesk({
      store,
      idOf,
      tagDigests: async (repository, tag) => {
        const fetched = fetchedTags.of(repository, tag);
        return [...(await references.known(repository, tag)), ...(fetched === undefined ? [] : [fetched])];
      },
      runtimeContent: () => content?.report(),
      clock,
    }),
    prefetch: ordered,
    logger: logger.child({ room: 'admin' }),
  }).catch((error: unknown) => {
    throw startErrorFrom(error, { kind: 'listen', flag: '--admin', address: config.admin });
  });
  stops.push(() => admin.stop());
  const drainAll = (): Promise<void> => {
    draining = true;
    const now = (): number => performance.now();
    const rooms = { mirror, tracker: client, pulls: registry, network: peers, store, now };
    const options = { timeoutMs: tuning.drainTimeoutMs, socketStays: mirrorFd !== undefined };
    return drain(options, { ...rooms, logger: logger.child({ room: 'drain' }) });
  };
  return {
    drainAll,
    retune: (next) => tuning.apply(next, { store: ownStore, network: peers, downloads, pieceMemory }),
    mirrorUrl: `http://${mirror.address}`,
    adminUrl: admin.url,
    peerId: identity.peerId,
    peerAddresses: peers.addresses(),
  };
}

/** While the agent runs they may come and go. @throws StartError */
async function checkDockerConfigs(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const problem = await dockerConfigProblem(path);
    if (problem !== undefined)
      throw new StartError('wrong-usage', `--docker-config: "${path}" ${problem}`, 'Check the path');
  }
}

/** Their configured credentials serve every client of this node. */
function registriesOpenToClients({ registries }: AgentConfig): ReadonlySet<string> {
  return new Set(Object.keys(registries).filter((host) => registries[host]?.openToClients === true));
}

function identityFailure(error: unknown, dataDir: string): StartError {
  if (error instanceof IdentityError && error.code === 'damaged') {
    const hint = 'Restore that file, or remove it to join as a new agent; no blob is lost';
    return new StartError('data-damaged', error.message, hint, { cause: error });
  }
  return startErrorFrom(error, { kind: 'data', flag: '--data', path: dataDir });
}
