import { observeProcess } from '@shoal/process';
import { Counter, Gauge, Histogram, type MetricObject, Registry } from 'prom-client';

/** As `docs/metrics.md` has it. */
export interface MetricDescription {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

/** What `/metrics` reads at each scrape. */
export interface TrackerCounts {
  /** 1: it answers calls itself. */
  leading: number;
  takeovers: number;
  agents: number;
  swarms: number;
  entries: number;
  leases: number;
  references: number;
  barred: number;
  suspended: number;
  orders: number;
  connections: number;
}

const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2];

export class TrackerMetrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<'call' | 'status'>;
  readonly #joins: Counter<'outcome'>;
  readonly #leaseRequests: Counter<'outcome'>;
  readonly #referenceLookups: Counter<'outcome'>;
  readonly #passed: Counter<'outcome'>;
  readonly #reports: Counter<'outcome'>;
  readonly #bars: Counter;
  #waitingLookups = 0;

  constructor(counts: () => TrackerCounts) {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, value: (now: TrackerCounts) => number): void => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value(counts()));
        },
      });
    };
    gauge('shoal_tracker_leading', 'Whether this tracker answers calls itself: 1, or 0.', (now) => now.leading);
    const takeovers = 'Times that this tracker began to lead, of several on one store.';
    gauge('shoal_tracker_takeovers', takeovers, (now) => now.takeovers);
    gauge('shoal_tracker_agents', 'Agents that announced themselves lately.', (now) => now.agents);
    gauge('shoal_tracker_swarms', 'Blobs that at least one agent holds or wants.', (now) => now.swarms);
    gauge('shoal_tracker_directory_entries', 'Pairs of agent and blob.', (now) => now.entries);
    gauge('shoal_tracker_leases', 'Leases held now.', (now) => now.leases);
    gauge('shoal_tracker_references', 'References remembered.', (now) => now.references);
    gauge('shoal_tracker_barred_members', 'Members barred from the cluster.', (now) => now.barred);
    gauge('shoal_tracker_suspended_members', 'Members suspected of a lie now.', (now) => now.suspended);
    gauge('shoal_tracker_prefetch_orders', 'Orders to prefetch that are under way.', (now) => now.orders);
    gauge('shoal_tracker_connections', 'Open connections of agents.', (now) => now.connections);
    const waiting = 'Lookups of tags that wait for what another agent is asking its registry.';
    gauge('shoal_tracker_reference_lookups_waiting', waiting, () => this.#waitingLookups);
    this.#requests = new Histogram({
      name: 'shoal_tracker_request_duration_seconds',
      help: 'Time to answer one API call.',
      labelNames: ['call', 'status'],
      buckets: REQUEST_SECONDS_BUCKETS,
      registers,
    });
    this.#joins = new Counter({
      name: 'shoal_tracker_joins_total',
      help: 'Join requests by outcome: ok or the error code.',
      labelNames: ['outcome'],
      registers,
    });
    this.#leaseRequests = new Counter({
      name: 'shoal_tracker_lease_requests_total',
      help: 'Lease requests by outcome: the source that was granted (origin, zone, audit), or refused.',
      labelNames: ['outcome'],
      registers,
    });
    this.#referenceLookups = new Counter({
      name: 'shoal_tracker_reference_lookups_total',
      help: 'Lookups of tags and digests by outcome: told or refused without asking the origin again, ask, or wait.',
      labelNames: ['outcome'],
      registers,
    });
    this.#passed = new Counter({
      name: 'shoal_tracker_passed_calls_total',
      help: 'Calls passed on to the tracker that leads, by outcome: ok, or failed (it did not answer, or does not lead any more).',
      labelNames: ['outcome'],
      registers,
    });
    this.#reports = new Counter({
      name: 'shoal_tracker_reports_total',
      help: 'Reports of contradicting members by outcome: ok or the error code.',
      labelNames: ['outcome'],
      registers,
    });
    this.#bars = new Counter({
      name: 'shoal_tracker_bars_total',
      help: 'Members barred since the tracker started.',
      registers,
    });
    observeProcess(this.#registry, 'shoal_tracker');
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  request(call: string, status: number, durationMs: number): void {
    this.#requests.observe({ call, status }, durationMs / 1000);
  }

  join(outcome: string): void {
    this.#joins.inc({ outcome });
  }

  leaseRequest(outcome: 'origin' | 'zone' | 'audit' | 'refused'): void {
    this.#leaseRequests.inc({ outcome });
  }

  referenceLookup(outcome: 'told' | 'refused' | 'ask' | 'wait'): void {
    this.#referenceLookups.inc({ outcome });
  }

  /** Counts it while the answer is awaited. */
  async waitingLookup<T>(answer: Promise<T>): Promise<T> {
    this.#waitingLookups++;
    return answer.finally(() => this.#waitingLookups--);
  }

  passed(outcome: 'ok' | 'failed'): void {
    this.#passed.inc({ outcome });
  }

  report(outcome: string): void {
    this.#reports.inc({ outcome });
  }

  bar(): void {
    this.#bars.inc();
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  describe(): MetricDescription[] {
    // What prom-client keeps of each, beyond what its types tell.
    const all = this.#registry.getMetricsAsArray() as (MetricObject & { labelNames?: readonly string[] })[];
    return all.map(({ name, type, labelNames = [], help }) => ({ name, type: String(type), labels: labelNames, help }));
  }
}

export const NOTHING_COUNTED: TrackerCounts = {
  leading: 0,
  takeovers: 0,
  agents: 0,
  swarms: 0,
  entries: 0,
  leases: 0,
  references: 0,
  barred: 0,
  suspended: 0,
  orders: 0,
  connections: 0,
};

/** All that a tracker tells. */
export function describeTrackerMetrics(): MetricDescription[] {
  return new TrackerMetrics(() => NOTHING_COUNTED).describe();
}
