/** How an agent enters its cluster: with the membership of its last run, or a new one, and with whom it knows while no tracker answers. */
import type { Logger } from 'pino';
import { z } from 'zod';
import type { AgentConfig } from './config/agent-config.ts';
import { barred, StartError, wrongJoinToken, wrongTracker } from './config/start-error.ts';
import type { KnownPeers } from './known-peers.ts';
import type { TunablePeerNetwork } from './peers/peer-rates.ts';
import type { BlobStore } from './store/blob-store.ts';
import type { StartableTrackerClient } from './tracker-client/joined-tracker-client.ts';
import type { Membership } from './tracker-client/tracker-client.ts';

const MEMBERSHIP_NOTE = 'agent/membership';
const MEET_EVERY_MS = 10_000;

const membershipSchema = z.object({ certificate: z.string(), clusterKey: z.string(), expiresAtMs: z.number() });

/** For the next start, should no tracker answer then. */
export async function saveMembership(store: BlobStore, membership: Membership): Promise<void> {
  await store.notes.put(MEMBERSHIP_NOTE, JSON.stringify(membership));
}

/** Of the last run; undefined when there is none, or none that can be read. */
export async function savedMembership(store: BlobStore): Promise<Membership | undefined> {
  const note = await store.notes.get(MEMBERSHIP_NOTE);
  try {
    return note === undefined ? undefined : membershipSchema.parse(JSON.parse(note));
  } catch {
    return undefined;
  }
}

/** Joins; goes on without a tracker when none answers. @throws StartError when it refuses this agent for good */
export async function join(
  client: StartableTrackerClient,
  config: AgentConfig,
  peerId: string,
  logger: Logger,
): Promise<void> {
  const outcome = await client.start();
  if (outcome === 'unreachable' && config.trackers.length > 0) {
    logger.warn(
      { trackers: config.trackers },
      'no tracker answers: known members and registries are used until one does',
    );
  }
  if (typeof outcome === 'string') return;
  const url = config.trackers.join(', ');
  if (outcome.fatal === 'WRONG_JOIN_TOKEN') throw wrongJoinToken(url);
  if (outcome.fatal === 'WRONG_PIN') throw wrongTracker(url);
  if (outcome.fatal === 'BARRED') throw barred(url, peerId);
  throw new StartError('clock-skew', outcome.message, 'Set the clock, e.g. with timedatectl set-ntp true');
}

/** Tells the tracker what the store holds from before. */
export async function announceStored(store: BlobStore, client: StartableTrackerClient): Promise<void> {
  for await (const { id } of store.list()) client.have([id]);
}

/** While the tracker is away, keeps in touch with the members met before. */
export function meetKnownPeers(
  knownPeers: KnownPeers,
  client: StartableTrackerClient,
  network: TunablePeerNetwork,
): () => void {
  const meet = (): void => {
    if (!client.reachable()) network.dial(knownPeers.all());
  };
  meet();
  const timer = setInterval(meet, MEET_EVERY_MS);
  return () => clearInterval(timer);
}
