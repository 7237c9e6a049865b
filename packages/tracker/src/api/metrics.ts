import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What `/metrics` reads at each scrape. */
export interface TrackerCounts {
  agents: number;
  swarms: number;
  entries: number;
  leases: number;
  references: number;
  barred: number;
  suspended: number;
  orders: number;
}

const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2];

export class TrackerMetrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<'call' | 'status'>;
  readonly #joins: Counter<'outcome'>;
  readonly #leaseRequests: Counter<'outcome'>;
  readonly #referenceLookups: Counter<'outcome'>;
  readonly #reports: Counter<'outcome'>;
  readonly #bars: Counter;

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
    gauge('shoal_tracker_agents', 'Agents that announced themselves lately.', (now) => now.agents);
    gauge('shoal_tracker_swarms', 'Blobs that at least one agent holds or wants.', (now) => now.swarms);
    gauge('shoal_tracker_directory_entries', 'Pairs of agent and blob.', (now) => now.entries);
    gauge('shoal_tracker_leases', 'Leases held now.', (now) => now.leases);
    gauge('shoal_tracker_references', 'References remembered.', (now) => now.references);
    gauge('shoal_tracker_barred_members', 'Members barred from the cluster.', (now) => now.barred);
    gauge('shoal_tracker_suspended_members', 'Members suspected of a lie now.', (now) => now.suspended);
    gauge('shoal_tracker_prefetch_orders', 'Orders to prefetch that are under way.', (now) => now.orders);
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

  report(outcome: string): void {
    this.#reports.inc({ outcome });
  }

  bar(): void {
    this.#bars.inc();
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
