/**
 * Where the page's answers come from. The server knows only this interface; what is behind it is one tracker's own rooms, and
 * where several trackers stand behind one name it is the one that leads.
 */
import type { Directory } from '../directory/directory.ts';
import type { State } from '../state/state.ts';
import type { ActiveBlobs } from './active-blobs.ts';
import type { ClusterCounts, DashboardState, HeldContent, MembersPage } from './answers.ts';
import { heldContent } from './held-content.ts';
import { type MembersQuery, membersPage } from './members-page.ts';
import type { NodeReports } from './node-reports.ts';
import { Rollouts } from './rollouts.ts';
import { SAMPLE_EVERY_MS } from './traffic.ts';

export interface DashboardSource {
  state(): DashboardState;
  members(query: MembersQuery): MembersPage;
  held(find: string): HeldContent;
}

export interface TrackerSourceDependencies {
  version: string;
  directory: Directory;
  state: Pick<State, 'references' | 'barredCount'>;
  reports: NodeReports;
  blobs: ActiveBlobs;
  counts: () => Pick<ClusterCounts, 'suspended' | 'leases' | 'orders'>;
  isSuspended: (peerId: string) => boolean;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export class TrackerSource implements DashboardSource {
  readonly #dependencies: TrackerSourceDependencies;
  readonly #rollouts: Rollouts;
  readonly #startedAtMs: number;

  constructor(dependencies: TrackerSourceDependencies) {
    this.#dependencies = dependencies;
    this.#rollouts = new Rollouts(dependencies);
    this.#startedAtMs = dependencies.clock();
  }

  state(): DashboardState {
    const { version, directory, state, reports, counts, clock } = this.#dependencies;
    const nowMs = clock();
    reports.expire(nowMs);
    const { rollouts, leftOut } = this.#rollouts.list(nowMs);
    return {
      nowMs,
      tracker: { version, upMs: Math.max(0, nowMs - this.#startedAtMs) },
      cluster: {
        members: directory.agentCount,
        reporting: reports.size,
        barred: state.barredCount,
        blobs: directory.swarmCount,
        ...counts(),
      },
      bytes: reports.traffic.total,
      cache: reports.cache,
      traffic: { everyMs: SAMPLE_EVERY_MS, samples: reports.traffic.samples(nowMs) },
      rollouts,
      rolloutsLeftOut: leftOut,
    };
  }

  members(query: MembersQuery): MembersPage {
    return membersPage(query, this.#dependencies, this.#dependencies.clock());
  }

  held(find: string): HeldContent {
    return heldContent(find, this.#dependencies);
  }
}
