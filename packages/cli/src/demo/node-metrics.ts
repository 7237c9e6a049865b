/** Where an agent's bytes came from, read out of its metrics. */
import { type Sample, sumOf } from './prometheus.ts';

export interface NodeSources {
  bytesFromPeers: number;
  bytesFromOrigin: number;
  bytesFromStore: number;
  originRequests: number;
}

export function nodeSources(samples: readonly Sample[]): NodeSources {
  return {
    bytesFromPeers: sumOf(samples, 'shoal_bytes_total', { source: 'peer', direction: 'in' }),
    bytesFromOrigin: sumOf(samples, 'shoal_bytes_total', { source: 'origin', direction: 'in' }),
    bytesFromStore: sumOf(samples, 'shoal_bytes_total', { source: 'store', direction: 'in' }),
    originRequests: sumOf(samples, 'shoal_origin_requests_total'),
  };
}
