/**
 * How an agent stops while others rely on it. In this order, and none of it may keep it longer than the time it is given:
 *
 *   1. it is not ready any more; its mirror takes no connection, so runtimes go upstream with what they have not begun, or, where
 *      systemd holds the mirror's socket, wait for the next agent
 *   2. the tracker forgets it, with its leases; peers hear that what is complete here is not offered any more
 *   3. bodies under way go on, from peers and origin as before, until they are sent or the time is over
 *   4. pulls stop; peers get the pieces they have asked for
 *
 * Then the rooms are closed, which is left to `agent.ts`.
 */
import type { Logger } from 'pino';
import type { Mirror } from './mirror/mirror.ts';
import type { PeerNetwork } from './peers/peer-network.ts';
import type { PullRegistry } from './pull/pull-registry.ts';
import type { BlobStore } from './store/blob-store.ts';
import type { StartableTrackerClient } from './tracker-client/joined-tracker-client.ts';

/** Peers get this long even where bodies took all of the time: they wait for one piece each. */
const MIN_PIECES_MS = 500;

export interface DrainDependencies {
  mirror: Pick<Mirror, 'open' | 'close'>;
  tracker: Pick<StartableTrackerClient, 'leave'>;
  pulls: Pick<PullRegistry, 'drain'>;
  network: Pick<PeerNetwork, 'drain' | 'withdraw'>;
  store: Pick<BlobStore, 'list'>;
  logger: Logger;
  /** Monotonic milliseconds. */
  now: () => number;
}

export interface DrainOptions {
  timeoutMs: number;
  /** Whether the mirror's socket is somebody else's, who holds it for the next agent. */
  socketStays: boolean;
}

export async function drain(options: DrainOptions, dependencies: DrainDependencies): Promise<void> {
  const { mirror, tracker, pulls, network, logger, now } = dependencies;
  const { timeoutMs, socketStays } = options;
  const startedMs = now();
  const newOnes = socketStays ? 'wait for the next agent' : 'go upstream';
  logger.info({ requests: mirror.open, timeoutMs }, `stopping: requests under way go on, new ones ${newOnes}`);
  const sent = mirror.close(timeoutMs);
  await Promise.all([pulls.drain(), tracker.leave(), withdrawStored(dependencies)]);
  const cutCount = await sent;
  await pulls.drain();
  await withdrawStored(dependencies);
  const leftMs = Math.max(MIN_PIECES_MS, Math.ceil(timeoutMs - (now() - startedMs)));
  await network.drain(AbortSignal.timeout(leftMs));
  const seconds = Math.round(now() - startedMs) / 1000;
  if (cutCount === 0) logger.info({ seconds }, 'nothing is under way any more');
  else logger.warn({ seconds, cutCount }, 'requests were cut off: --drain-timeout was over');
}

async function withdrawStored({ store, network }: Pick<DrainDependencies, 'store' | 'network'>): Promise<void> {
  for await (const { id } of store.list()) network.withdraw(id);
}
