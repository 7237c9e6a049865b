/**
 * Facts for `shoal doctor`, told by the agent that runs: only it sees the disk with its own rights, the tracker with its own identity,
 * the registries with its own credentials and proxies of names. It tells what is, and judges nothing.
 *
 *   POST /v1/check {}                        ─► facts()          the tracker is asked, the disk written to, the own addresses dialled, from here
 *                                                                 and by members
 *   POST /v1/check {"registry":"ghcr.io"}    ─► registry(host)   that registry is asked for itself
 *
 * The same question asked twice at a time is answered once.
 */

import type { OriginClient } from '../origin/origin-client.ts';
import type { RateLimitReading } from '../origin/rate-limits.ts';
import type { DialBackFinding, PeerNetwork, PeerReach } from '../peers/peer-network.ts';
import type { StrangeAgent } from '../peers/tls/tls-transport.ts';
import { PROTOCOL_VERSIONS } from '../peers/tls/versions.ts';
import type { RuntimeContentReport } from '../runtime-content/runtime-content.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { checkTracker, type TrackerStanding } from '../tracker-client/tracker-check.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import { answering } from './answering.ts';
import { checkDataFolder, type DataFolderStanding } from './data-folder.ts';
import { findRegistry, type RegistryFinding } from './registry-finding.ts';

export interface AgentCheckOptions {
  version: string;
  zone: string;
  /** `HOST:PORT` as it listens. */
  mirror: string;
  /** Whether somebody else, systemd, holds the mirror's socket beyond this agent. */
  mirrorHandedOver: boolean;
  peerListen: readonly string[];
  trackers: readonly string[];
  joinToken: string;
  dataDir: string;
  minFreeDiskBytes: number;
  /** Configured ones, by host, with the address where one is given. */
  registries: Readonly<Record<string, { url?: string }>>;
}

export interface AgentCheckDependencies {
  identity: { peerId: string; sign: (bytes: Uint8Array) => Uint8Array };
  upSeconds: () => number;
  peers: Pick<PeerNetwork, 'addresses' | 'links'> & PeerReach;
  tracker: Pick<TrackerClient, 'reachable' | 'clusterSize' | 'membership'>;
  store: Pick<BlobStore, 'usage'>;
  /** Undefined when this agent was not told of a containerd. */
  runtimeContent?: () => RuntimeContentReport | undefined;
  origin: Pick<OriginClient, 'check'>;
  /** What a registry last said is left of its pulls. */
  rateLimit: (registry: string) => RateLimitReading | undefined;
  clock: () => number;
}

export interface AgentFacts {
  version: string;
  upSeconds: number;
  zone: string;
  mirror: string;
  mirrorHandedOver: boolean;
  peers: {
    listen: readonly string[];
    /** Told to others. */
    announced: string[];
    /** Of those, the ones that take a connection from this machine. */
    answering: string[];
    outbound: number;
    inbound: number;
    inboundSoFar: number;
    /** What members found that were asked to dial this agent back. */
    dialledBack: DialBackFinding[];
    /** Agents that speak none of `versions`. */
    strangers: StrangeAgent[];
    versions: readonly string[];
  };
  trackers: TrackerStanding[];
  /** By the agent's own link, which is looked at every few seconds. */
  trackerReachable: boolean;
  members: number;
  /** Undefined: this agent has no current membership. */
  membershipExpiresAtMs?: number;
  containerd?: RuntimeContentReport;
  data: DataFolderStanding & { cacheBytes: number; quotaBytes: number; minFreeBytes: number };
  registries: { registry: string; url?: string }[];
}

export class AgentCheck {
  readonly #options: AgentCheckOptions;
  readonly #dependencies: AgentCheckDependencies;
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #closing = new AbortController();

  constructor(options: AgentCheckOptions, dependencies: AgentCheckDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  facts(): Promise<AgentFacts> {
    return this.#once('', () => this.#facts());
  }

  registry(registry: string): Promise<RegistryFinding & { limit?: RateLimitReading }> {
    return this.#once(registry, async () => {
      const { origin, rateLimit } = this.#dependencies;
      const finding = await findRegistry(origin, registry, this.#closing.signal);
      const limit = rateLimit(registry);
      return limit === undefined ? finding : { ...finding, limit };
    });
  }

  close(): void {
    this.#closing.abort(new Error('the agent is stopping'));
  }

  async #facts(): Promise<AgentFacts> {
    const { version, zone, mirror, mirrorHandedOver, peerListen, trackers, joinToken, dataDir, minFreeDiskBytes } =
      this.#options;
    const { registries } = this.#options;
    const { identity, upSeconds, peers, tracker, store, runtimeContent, clock } = this.#dependencies;
    const { signal } = this.#closing;
    const announced = peers.addresses();
    const [standings, answered, dialledBack, data] = await Promise.all([
      Promise.all(trackers.map((url) => checkTracker({ url, joinToken, zone }, { identity, clock, signal }))),
      answering(announced, signal),
      peers.dialBack(signal),
      checkDataFolder(dataDir),
    ]);
    const { bytes: cacheBytes, quotaBytes } = store.usage();
    const membership = tracker.membership();
    const containerd = runtimeContent?.();
    return {
      version,
      upSeconds: upSeconds(),
      zone,
      mirror,
      mirrorHandedOver,
      peers: {
        listen: peerListen,
        announced,
        answering: answered,
        ...peers.links(),
        dialledBack,
        strangers: peers.strangers(),
        versions: PROTOCOL_VERSIONS,
      },
      trackers: standings,
      trackerReachable: tracker.reachable(),
      members: tracker.clusterSize(),
      ...(membership === undefined ? {} : { membershipExpiresAtMs: membership.expiresAtMs }),
      ...(containerd === undefined ? {} : { containerd }),
      data: { ...data, cacheBytes, quotaBytes, minFreeBytes: minFreeDiskBytes },
      registries: Object.entries(registries).map(([registry, { url }]) => ({
        registry,
        ...(url === undefined ? {} : { url }),
      })),
    };
  }

  #once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key) as Promise<T> | undefined;
    if (running !== undefined) return running;
    const asked = ask().finally(() => this.#running.delete(key));
    this.#running.set(key, asked);
    return asked;
  }
}
