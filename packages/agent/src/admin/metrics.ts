/** Every number an agent reports, in one place; names end in their unit. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const PULL_SECONDS_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** Where bytes came from or went to. `store`: sent to a client from a blob that was complete here before it was asked for. */
export type ByteSide = 'peer' | 'origin' | 'store' | 'client';

/** What can only be read off when it is asked for. */
export interface Gauges {
  cacheBytes(): number;
  cacheQuotaBytes(): number;
  cacheBlobs(): number;
  peers(): number;
  pullsOpen(): number;
  trackerReachable(): boolean;
}

export class Metrics {
  readonly registry: Registry = new Registry();
  readonly #bytes: Counter<'side' | 'direction'>;
  readonly #pulls: Counter<'result'>;
  readonly #pullSeconds: Histogram<'result'>;
  readonly #originRequests: Counter<'kind' | 'status'>;
  readonly #mirrorRequests: Counter<'kind' | 'result'>;
  readonly #piecesRejected: Counter<'reason'>;

  constructor() {
    const registers = [this.registry];
    const counter = <T extends string>(name: string, help: string, labelNames: T[]): Counter<T> =>
      new Counter({ name, help, labelNames, registers });
    this.#bytes = counter('shoal_bytes_total', 'Content bytes, by where they came from or went to', [
      'side',
      'direction',
    ]);
    this.#pulls = counter('shoal_pulls_total', 'Pulls of one blob that ended', ['result']);
    this.#originRequests = counter('shoal_origin_requests_total', 'Requests to registries', ['kind', 'status']);
    this.#mirrorRequests = counter('shoal_mirror_requests_total', 'Requests of container runtimes', ['kind', 'result']);
    this.#piecesRejected = counter('shoal_pieces_rejected_total', 'Pieces from peers that were refused', ['reason']);
    this.#pullSeconds = new Histogram({
      name: 'shoal_pull_seconds',
      help: 'How long pulls of one blob took',
      labelNames: ['result'],
      buckets: PULL_SECONDS_BUCKETS,
      registers,
    });
    for (const [side, direction] of [
      ['peer', 'in'],
      ['peer', 'out'],
      ['origin', 'in'],
      ['store', 'in'],
      ['client', 'out'],
    ] as const) {
      this.#bytes.inc({ side, direction }, 0);
    }
    collectDefaultMetrics({ register: this.registry });
  }

  /** Shows what `gauges` says at each scrape. */
  watch(gauges: Gauges): void {
    const gauge = (name: string, help: string, read: () => number): void => {
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    };
    gauge('shoal_cache_bytes', 'Bytes kept and reserved in the store', () => gauges.cacheBytes());
    gauge('shoal_cache_quota_bytes', 'Bytes the store may take', () => gauges.cacheQuotaBytes());
    gauge('shoal_cache_blobs', 'Complete blobs in the store', () => gauges.cacheBlobs());
    gauge('shoal_peers', 'Members connected', () => gauges.peers());
    gauge('shoal_pulls_open', 'Pulls under way', () => gauges.pullsOpen());
    gauge('shoal_tracker_reachable', '1 when the tracker answered lately', () => Number(gauges.trackerReachable()));
  }

  bytes(side: ByteSide, direction: 'in' | 'out', count: number): void {
    this.#bytes.inc({ side, direction }, count);
  }

  pullEnded(result: string, seconds: number): void {
    this.#pulls.inc({ result });
    this.#pullSeconds.observe({ result }, seconds);
  }

  /** @param status the HTTP status; 0 when no answer came */
  originRequest(kind: string, status: number): void {
    this.#originRequests.inc({ kind, status: status === 0 ? 'none' : `${Math.floor(status / 100)}xx` });
  }

  mirrorRequest(kind: string, result: string): void {
    this.#mirrorRequests.inc({ kind, result });
  }

  pieceRejected(reason: string): void {
    this.#piecesRejected.inc({ reason });
  }
}
