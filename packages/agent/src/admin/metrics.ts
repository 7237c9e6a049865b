/**
 * All metrics of an agent, in one registry of its own. The rooms know nothing of Prometheus: the composition root calls
 * these methods from their hooks, and hands over one function that is asked for the gauges at each scrape.
 *
 * Labels take few, fixed values; nothing that a client or peer sends becomes a label, but the registry's status class, and of
 * registries that limit their pulls the first 16 names.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/**
 * Where bytes come from and go to: `peer` in and out, `origin` in, `client` out (the container runtime), `store` in (read
 * from disk in place of the network).
 */
export type ByteSource = 'peer' | 'origin' | 'store' | 'client';
export type ByteDirection = 'in' | 'out';

/** What is so now. */
export interface AgentGauges {
  cacheBytes: number;
  cacheQuotaBytes: number;
  cacheBlobs: number;
  cachePinnedBytes: number;
  peers: number;
  pullsOpen: number;
  trackerReachable: boolean;
}

export interface Metrics {
  bytes(source: ByteSource, direction: ByteDirection, sizeBytes: number): void;
  /** Since the start. */
  bytesSoFar(source: ByteSource, direction: ByteDirection): number;
  pullEnded(result: string, seconds: number): void;
  /** A client asked for a blob: whether all of it was here. */
  cacheLookup(isHit: boolean): void;
  cacheRemoved(reason: string, sizeBytes: number): void;
  /** @param status 0 when no answer came */
  originRequest(kind: string, status: number): void;
  /** Pulls that a registry said are left, and of how many. */
  rateLimit(registry: string, remaining: number, limit: number | undefined): void;
  rateLimited(registry: string): void;
  mirrorRequest(kind: string, result: string, seconds?: number): void;
  pieceRejected(reason: string): void;
  lease(source: string): void;
  audit(result: string): void;
  /** Asked at each scrape; the last one given counts. */
  observe(gauges: () => AgentGauges): void;
  readonly contentType: string;
  /** The page in Prometheus' text format. */
  text(): Promise<string>;
}

/** The delay of the event loop is found by a timer; one of 10 ms, as is usual, would wake an idle agent 100 times a second. */
const EVENT_LOOP_SAMPLE_MS = 200;
const NANOSECONDS_PER_MS = 1e6;
const MAX_REGISTRY_LABELS = 16;
const PULL_SECONDS_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900];
const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 60];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let gauges: (() => AgentGauges) | undefined;
  const totals = new ByteTotals();
  new Counter({
    name: 'shoal_bytes_total',
    help: 'Bytes by where they came from (in) or went to (out).',
    labelNames: ['source', 'direction'],
    registers,
    collect() {
      this.reset();
      for (const { source, direction, sizeBytes } of totals.all()) this.inc({ source, direction }, sizeBytes);
    },
  });
  const pulls = new Counter({
    name: 'shoal_pulls_total',
    help: 'Pulls that ended, by result.',
    labelNames: ['result'],
    registers,
  });
  const pullSeconds = new Histogram({
    name: 'shoal_pull_seconds',
    help: 'How long a pull took, from the first request to the last verified byte.',
    buckets: PULL_SECONDS_BUCKETS,
    registers,
  });
  const cacheLookups = new Counter({
    name: 'shoal_cache_lookups_total',
    help: 'Blobs that clients asked for: hit, all of it was on disk; miss, it had to be pulled.',
    labelNames: ['result'],
    registers,
  });
  const removedBlobs = new Counter({
    name: 'shoal_cache_removed_blobs_total',
    help: 'Blobs that went: quota and disk (room for others), expired, pruned, removed, damaged.',
    labelNames: ['reason'],
    registers,
  });
  const removedBytes = new Counter({
    name: 'shoal_cache_removed_bytes_total',
    help: 'Their bytes.',
    labelNames: ['reason'],
    registers,
  });
  const originRequests = new Counter({
    name: 'shoal_origin_requests_total',
    help: 'Requests sent to registries, by kind and class of the answer; "none" when there was no answer.',
    labelNames: ['kind', 'status'],
    registers,
  });
  const rateRemaining = new Gauge({
    name: 'shoal_origin_ratelimit_remaining_pulls',
    help: 'Pulls that the registry said are left in its window (RateLimit-Remaining).',
    labelNames: ['registry'],
    registers,
  });
  const rateLimit = new Gauge({
    name: 'shoal_origin_ratelimit_limit_pulls',
    help: 'Pulls that the registry allows in its window (RateLimit-Limit).',
    labelNames: ['registry'],
    registers,
  });
  const rateLimited = new Counter({
    name: 'shoal_origin_rate_limited_total',
    help: 'Answers 429 of registries.',
    labelNames: ['registry'],
    registers,
  });
  const named = new Set<string>();
  /** The first registries are told apart. */
  const labelOf = (host: string): string => {
    if (named.size < MAX_REGISTRY_LABELS) named.add(host);
    return named.has(host) ? host : 'other';
  };
  const mirrorRequests = new Counter({
    name: 'shoal_mirror_requests_total',
    help: 'Requests of the container runtime, by kind and result.',
    labelNames: ['kind', 'result'],
    registers,
  });
  const mirrorSeconds = new Histogram({
    name: 'shoal_mirror_request_seconds',
    help: 'How long a request of the container runtime took, its body included.',
    labelNames: ['kind'],
    buckets: REQUEST_SECONDS_BUCKETS,
    registers,
  });
  const piecesRejected = new Counter({
    name: 'shoal_pieces_rejected_total',
    help: 'Pieces that were thrown away because they were not what they should be.',
    labelNames: ['reason'],
    registers,
  });
  const leases = new Counter({
    name: 'shoal_leases_total',
    help: "Runs of pieces that the tracker let this agent get, by source: the origin, or another zone's members.",
    labelNames: ['source'],
    registers,
  });
  const audits = new Counter({
    name: 'shoal_audits_total',
    help: 'Complete blobs that did not match their digest, by what came of it.',
    labelNames: ['result'],
    registers,
  });
  const gauge = (name: string, help: string, value: (now: AgentGauges) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        if (gauges !== undefined) this.set(value(gauges()));
      },
    });
  };
  gauge('shoal_cache_bytes', 'Disk taken and reserved by blobs.', (now) => now.cacheBytes);
  gauge('shoal_cache_quota_bytes', 'Most disk that blobs may take.', (now) => now.cacheQuotaBytes);
  gauge('shoal_cache_blobs', 'Complete blobs on disk.', (now) => now.cacheBlobs);
  gauge('shoal_cache_pinned_bytes', 'Of these, bytes of blobs that are pinned.', (now) => now.cachePinnedBytes);
  gauge('shoal_peers', 'Verified members connected now.', (now) => now.peers);
  gauge('shoal_pulls_open', 'Pulls under way.', (now) => now.pullsOpen);
  gauge('shoal_tracker_reachable', '1 while the tracker answers.', (now) => (now.trackerReachable ? 1 : 0));
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS });
  observeEventLoop(registry);

  return {
    bytes: (source, direction, sizeBytes) => totals.add(source, direction, sizeBytes),
    bytesSoFar: (source, direction) => totals.of(source, direction),
    pullEnded(result, seconds) {
      pulls.inc({ result });
      pullSeconds.observe(seconds);
    },
    cacheLookup: (isHit) => cacheLookups.inc({ result: isHit ? 'hit' : 'miss' }),
    cacheRemoved(reason, sizeBytes) {
      removedBlobs.inc({ reason });
      removedBytes.inc({ reason }, sizeBytes);
    },
    originRequest: (kind, status) => originRequests.inc({ kind, status: statusClass(status) }),
    rateLimit(host, remaining, limit) {
      rateRemaining.set({ registry: labelOf(host) }, remaining);
      if (limit !== undefined) rateLimit.set({ registry: labelOf(host) }, limit);
    },
    rateLimited: (host) => rateLimited.inc({ registry: labelOf(host) }),
    mirrorRequest(kind, result, seconds) {
      mirrorRequests.inc({ kind, result });
      if (seconds !== undefined) mirrorSeconds.observe({ kind }, seconds);
    },
    pieceRejected: (reason) => piecesRejected.inc({ reason }),
    lease: (source) => leases.inc({ source }),
    audit: (result) => audits.inc({ result }),
    observe(given) {
      gauges = given;
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
  };
}

/**
 * How late the event loop was at worst since the last scrape. In place of prom-client's gauges, which count the time between two
 * looks as delay.
 */
function observeEventLoop(registry: Registry): void {
  for (const name of ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99']) {
    registry.removeSingleMetric(`nodejs_eventloop_lag${name}_seconds`);
  }
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_SAMPLE_MS });
  delay.enable();
  new Gauge({
    name: 'shoal_event_loop_delay_seconds',
    help: 'The longest that anything had to wait for this process since the last scrape, looked at five times a second.',
    registers: [registry],
    collect() {
      this.set(Math.max(0, delay.max / NANOSECONDS_PER_MS - EVENT_LOOP_SAMPLE_MS) / 1_000);
      delay.reset();
    },
  });
}

/** Added to with every portion that passes, so without a counter's labels and checks. */
class ByteTotals {
  readonly #in = new Map<ByteSource, number>();
  readonly #out = new Map<ByteSource, number>();

  add(source: ByteSource, direction: ByteDirection, sizeBytes: number): void {
    const totals = direction === 'in' ? this.#in : this.#out;
    totals.set(source, (totals.get(source) ?? 0) + sizeBytes);
  }

  of(source: ByteSource, direction: ByteDirection): number {
    return (direction === 'in' ? this.#in : this.#out).get(source) ?? 0;
  }

  *all(): Generator<{ source: ByteSource; direction: ByteDirection; sizeBytes: number }> {
    for (const [source, sizeBytes] of this.#in) yield { source, direction: 'in', sizeBytes };
    for (const [source, sizeBytes] of this.#out) yield { source, direction: 'out', sizeBytes };
  }
}

function statusClass(status: number): string {
  return status >= 100 && status < 600 ? `${Math.floor(status / 100)}xx` : 'none';
}
