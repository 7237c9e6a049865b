/** Puts together what a tracker with replicas has beside its API: the store, the seat, the way to the others. */
import type { Logger } from 'pino';
import type { Rooms } from '../rooms.ts';
import type { Shelf } from '../state/shelf.ts';
import { Passing } from './passing.ts';
import { RedisLink } from './redis-link.ts';
import { RedisShelf } from './redis-shelf.ts';
import { ReplicaSeat } from './replica-seat.ts';

export interface ReplicaOptions {
  /** redis:// or rediss:// */
  store: string;
  /** Names the cluster, as several may share one store. */
  cluster: string;
  /** PEM, of all replicas. */
  certificate: string;
}

export interface ReplicaDependencies {
  logger: Logger;
  /** Milliseconds of a clock that only goes forward. */
  monotonic: () => number;
  openRooms: (shelf: Shelf, workShelf: Shelf) => Promise<Rooms>;
  onChange: () => void;
  onPassed: (outcome: 'ok' | 'failed') => void;
}

export interface Replica {
  readonly seat: ReplicaSeat;
  close(): void;
}

/** @throws TrackerStartError STORE_UNREACHABLE */
export async function openReplica(
  { store, cluster, certificate }: ReplicaOptions,
  { openRooms, ...dependencies }: ReplicaDependencies,
): Promise<Replica> {
  const redis = await RedisLink.open(store, dependencies);
  const passing = new Passing(certificate);
  // In braces: what belongs together stays on one server of a store that is several.
  const keyOf = (name: string): string => `shoal:{${cluster}}:${name}`;
  const lockKey = keyOf('leader');
  const shelfOf = (name: string, fence: string): Shelf =>
    new RedisShelf({ key: keyOf(name), lockKey, fence }, { redis });
  const seat = new ReplicaSeat(
    { lockKey },
    {
      ...dependencies,
      redis,
      passing,
      openRooms: (fence) => openRooms(shelfOf('state', fence), shelfOf('work', fence)),
    },
  );
  return {
    seat,
    close() {
      passing.close();
      redis.close();
    },
  };
}
