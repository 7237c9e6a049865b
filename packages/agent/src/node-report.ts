/** How this node is, in the tracker's words. */
import { MAX_REPORTED_PULLS, type NodeReport } from '@shoal/wire';
import type { Metrics } from './admin/metrics.ts';
import type { PeerNetwork } from './peers/peer-network.ts';
import type { PullRegistry } from './pull/pull-registry.ts';
import type { BlobStore } from './store/blob-store.ts';

const MAX_VERSION_CHARACTERS = 32;

/** What of the agent is there already; the others come while it starts. */
export interface ReportedRooms {
  metrics: Pick<Metrics, 'bytesSoFar'>;
  store: Pick<BlobStore, 'usage'>;
  network: Pick<PeerNetwork, 'connected'> | undefined;
  pulls: Pick<PullRegistry, 'progress'> | undefined;
}

export function nodeReport(version: string, { metrics, store, network, pulls }: ReportedRooms): NodeReport {
  const { bytes, quotaBytes, blobs } = store.usage();
  const underWay = pulls?.progress().slice(0, MAX_REPORTED_PULLS) ?? [];
  return {
    version: version.slice(0, MAX_VERSION_CHARACTERS),
    links: network?.connected().length ?? 0,
    pulls: underWay.map(({ seconds: _, ...pull }) => pull),
    bytes: {
      fromOrigin: metrics.bytesSoFar('origin', 'in'),
      fromPeers: metrics.bytesSoFar('peer', 'in'),
      toPeers: metrics.bytesSoFar('peer', 'out'),
      toClients: metrics.bytesSoFar('client', 'out'),
    },
    cache: { bytes, quotaBytes, blobs },
  };
}
