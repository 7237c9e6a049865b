/**
 * All metrics of an agent, in one registry of its own. The rooms know nothing of Prometheus: the composition root calls
 * these methods from their hooks, and hands over one function that is asked for the gauges at each scrape.
 *
 * Labels take few, fixed values; nothing that a client or peer sends becomes a label, but the registry's status class, and of
 * registries that limit their pulls the first 16 names.
 */
import { observeProcess } from '@shoal/process';
import { Counter, Gauge, Histogram, type MetricObject, Registry } from 'prom-client';
import { type AgentGauges, registerGauges } from './gauges.ts';
import { type ByteDirection, type ByteSource, ByteTotals, Tally } from './totals.ts';

/** As `docs/metrics.md` has it. */
export interface MetricDescription {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

export interface Metrics {
  bytes(source: ByteSource, direction: ByteDirection, sizeBytes: number): void;
  /** Since the start. */
  bytesSoFar(source: ByteSource, direction: ByteDirection): number;
  pullEnded(result: string, source: string, seconds: number): void;
  /** A client asked for a blob: whether all of it was here. */
  cacheLookup(isHit: boolean): void;
  cacheRemoved(reason: string, sizeBytes: number): void;
  /** @param status 0 when no answer came */
  originRequest(kind: string, status: number): void;
  /** Pulls that a registry said are left, and of how many. */
  rateLimit(registry: string, remaining: number, limit: number | undefined): void;
  rateLimited(registry: string): void;
  mirrorRequest(kind: string, result: string, seconds?: number): void;
  firstByte(kind: string, seconds: number): void;
  pieceRejected(reason: string): void;
  /** A piece was asked of another agent and did not come. */
  pieceFailed(cause: string): void;
  /** @param result `ok`, or why nothing came of it */
  trackerCall(call: string, result: string, seconds: number): void;
  lease(source: string): void;
  audit(result: string): void;
  /** An agent speaks no version of the protocol that this one does. */
  strangerMet(): void;
  /** To the collector of traces. */
  spansSent(count: number): void;
  spansDropped(cause: string, count: number): void;
  /** Asked at each scrape; the last one given counts. */
  observe(gauges: () => Promise<AgentGauges>): void;
  readonly contentType: string;
  /** The page in Prometheus' text format. */
  text(): Promise<string>;
  describe(): MetricDescription[];
}

const MAX_REGISTRY_LABELS = 16;
const PULL_SECONDS_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900];
const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 60];
const TRACKER_SECONDS_BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 3, 10];

export function createMetrics(options: { version?: string } = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let gauges: (() => Promise<AgentGauges>) | undefined;
  const totals = new ByteTotals();
  const pieceFailures = new Tally();
  new Gauge({ name: 'shoal_build_info', help: 'Always 1.', labelNames: ['version'], registers }).set(
    { version: options.version ?? '' },
    1,
  );
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
  new Counter({
    name: 'shoal_saved_bytes_total',
    help: 'Bytes that came from other agents or the cache and so did not have to come from a registry.',
    registers,
    collect() {
      this.reset();
      this.inc(totals.of('peer', 'in') + totals.of('store', 'in'));
    },
  });
  const pulls = new Counter({
    name: 'shoal_pulls_total',
    help: 'Pulls that ended, by result (done, failed, stopped) and where the bytes came from (origin, peers, both, none).',
    labelNames: ['result', 'source'],
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
    help: 'Blobs that went: quota and disk (room for others), expired, pruned, removed, damaged, in-runtime (containerd has them).',
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
  const firstByteSeconds = new Histogram({
    name: 'shoal_first_byte_seconds',
    help: 'From a request of the container runtime to the first bytes of the body that it got.',
    labelNames: ['kind'],
    buckets: REQUEST_SECONDS_BUCKETS,
    registers,
  });
  const trackerCalls = new Counter({
    name: 'shoal_tracker_calls_total',
    help: 'Calls to the tracker, by call and result: ok, or the code of what went wrong.',
    labelNames: ['call', 'result'],
    registers,
  });
  const trackerSeconds = new Histogram({
    name: 'shoal_tracker_call_seconds',
    help: 'How long calls to the tracker took. /v1/reference/ask may wait for what another agent is asking.',
    labelNames: ['call'],
    buckets: TRACKER_SECONDS_BUCKETS,
    registers,
  });
  new Counter({
    name: 'shoal_piece_failures_total',
    help: 'Pieces asked of other agents that did not come, by cause; busy and not-held are usual in a crowd.',
    labelNames: ['cause'],
    registers,
    collect() {
      this.reset();
      for (const [cause, count] of pieceFailures.all()) this.inc({ cause }, count);
    },
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
  const strangers = new Counter({
    name: 'shoal_peer_version_mismatches_total',
    help: 'Connections with agents that ended because they speak no version of the protocol that this one does.',
    registers,
  });
  const spansSent = new Counter({
    name: 'shoal_trace_spans_sent_total',
    help: 'Spans that the collector of traces took.',
    registers,
  });
  const spansDropped = new Counter({
    name: 'shoal_trace_spans_dropped_total',
    help: 'Spans that were thrown away: queue (more ended than could be sent), export (the collector did not take them).',
    labelNames: ['cause'],
    registers,
  });
  registerGauges(registry, () => gauges);
  observeProcess(registry, 'shoal');

  return {
    bytes: (source, direction, sizeBytes) => totals.add(source, direction, sizeBytes),
    bytesSoFar: (source, direction) => totals.of(source, direction),
    pullEnded(result, source, seconds) {
      pulls.inc({ result, source });
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
    firstByte: (kind, seconds) => firstByteSeconds.observe({ kind }, seconds),
    trackerCall(call, result, seconds) {
      trackerCalls.inc({ call, result });
      trackerSeconds.observe({ call }, seconds);
    },
    pieceFailed: (cause) => pieceFailures.add(cause),
    pieceRejected: (reason) => piecesRejected.inc({ reason }),
    lease: (source) => leases.inc({ source }),
    audit: (result) => audits.inc({ result }),
    strangerMet: () => strangers.inc(),
    spansSent: (count) => spansSent.inc(count),
    spansDropped: (cause, count) => spansDropped.inc({ cause }, count),
    observe(given) {
      gauges = given;
    },
    contentType: registry.contentType,
    text: () => registry.metrics(),
    describe: () => describe(registry),
  };
}

function statusClass(status: number): string {
  return status >= 100 && status < 600 ? `${Math.floor(status / 100)}xx` : 'none';
}

function describe(registry: Registry): MetricDescription[] {
  // What prom-client keeps of each, beyond what its types tell.
  const all = registry.getMetricsAsArray() as (MetricObject & { labelNames?: readonly string[] })[];
  return all.map(({ name, type, labelNames = [], help }) => ({ name, type: String(type), labels: labelNames, help }));
}

/** All that an agent tells. */
export function describeAgentMetrics(): MetricDescription[] {
  return createMetrics().describe();
}
