/** What is so now: asked of the rooms at each scrape, so that it costs nothing between two. */
import { Gauge, type Registry } from 'prom-client';
import type { RuntimeContentReport } from '../runtime-content/runtime-content.ts';

export interface AgentGauges {
  cacheBytes: number;
  cacheQuotaBytes: number;
  cacheBlobs: number;
  cachePinnedBytes: number;
  /** Undefined when it cannot be told. */
  diskFreeBytes: number | undefined;
  diskFloorBytes: number;
  peers: number;
  /** This agent included. */
  members: number;
  pullsOpen: number;
  requestsOpen: number;
  uploadsSending: number;
  uploadsWaiting: number;
  pieceMemoryLentBytes: number;
  pieceMemoryWaiting: number;
  /** Undefined when it has none. */
  trackerReachable: boolean | undefined;
  draining: boolean;
  /** Undefined when this agent was not told of a containerd. */
  runtimeContent: RuntimeContentReport | undefined;
}

/** The last one given counts; until then nothing is said. */
export type GaugeSource = () => (() => Promise<AgentGauges>) | undefined;

export function registerGauges(registry: Registry, source: GaugeSource): void {
  const registers = [registry];
  // All gauges of one scrape are collected in the same turn: the rooms are asked once for them.
  let asked: Promise<AgentGauges> | undefined;
  const now = (): Promise<AgentGauges> | undefined => {
    asked ??= source()?.().finally(() => {
      asked = undefined;
    });
    return asked;
  };
  const gauge = (name: string, help: string, value: (now: AgentGauges) => number | undefined): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        const gauges = await now();
        const known = gauges && value(gauges);
        // One that was never set would say 0.
        if (known === undefined) this.remove();
        else this.set(known);
      },
    });
  };
  gauge('shoal_cache_bytes', 'Disk taken and reserved by blobs.', (now) => now.cacheBytes);
  gauge('shoal_cache_quota_bytes', 'Most disk that blobs may take.', (now) => now.cacheQuotaBytes);
  gauge('shoal_cache_blobs', 'Complete blobs on disk.', (now) => now.cacheBlobs);
  gauge('shoal_cache_pinned_bytes', 'Of these, bytes of blobs that are pinned.', (now) => now.cachePinnedBytes);
  gauge('shoal_disk_free_bytes', 'Free on the disk of the data folder.', (now) => now.diskFreeBytes);
  gauge('shoal_disk_floor_bytes', 'What blobs leave free on that disk (min-free-disk).', (now) => now.diskFloorBytes);
  gauge('shoal_peers', 'Verified members connected now.', (now) => now.peers);
  gauge('shoal_members', 'Members of the cluster, this one included, as its tracker said last.', (now) => now.members);
  gauge('shoal_pulls_open', 'Pulls under way.', (now) => now.pullsOpen);
  gauge('shoal_mirror_requests_open', 'Requests of the container runtime being answered.', (now) => now.requestsOpen);
  gauge('shoal_uploads_sending', 'Pieces on their way to other agents.', (now) => now.uploadsSending);
  gauge('shoal_uploads_waiting', 'Pieces that others asked for and that wait for a slot.', (now) => now.uploadsWaiting);
  const lent = 'Memory taken by pieces on their way from other agents.';
  gauge('shoal_piece_memory_bytes', lent, (now) => now.pieceMemoryLentBytes);
  const waiting = 'Pieces that are not asked for yet because the memory for them is taken.';
  gauge('shoal_piece_memory_waiting', waiting, (now) => now.pieceMemoryWaiting);
  const reachable = '1 while the tracker answers; nothing where there is none.';
  gauge('shoal_tracker_reachable', reachable, ({ trackerReachable: is }) => (is === undefined ? is : is ? 1 : 0));
  const draining = '1 once the agent was told to stop and lets downloads under way go on.';
  gauge('shoal_draining', draining, (now) => (now.draining ? 1 : 0));
  const content = 'shoal_runtime_content';
  const shared = "Blobs in containerd's own store that are shared from there, beside those of the cache.";
  gauge(`${content}_blobs`, shared, ({ runtimeContent }) => runtimeContent?.blobs);
  gauge(`${content}_bytes`, 'Their bytes.', ({ runtimeContent }) => runtimeContent?.bytes);
  const unhashed = "Blobs in containerd's own store that are still to be hashed before they are shared.";
  gauge(`${content}_waiting_blobs`, unhashed, ({ runtimeContent }) => runtimeContent?.waiting);
  const wrong = "Blobs in containerd's own store that are not what their names say; they are never shared.";
  gauge(`${content}_wrong_blobs`, wrong, ({ runtimeContent }) => runtimeContent?.wrong);
  const followed = '1 while containerd answers and its files can be read; nothing where none is configured.';
  gauge(`${content}_followed`, followed, ({ runtimeContent: is }) => is && (is.state === 'listed' ? 1 : 0));
}
