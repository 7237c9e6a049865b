import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What `/metrics` reads at each scrape. */
export interface TrackerCounts {
  agents: number;
  swarms: number;
  entries: number;
  leases: number;
  references: number;
  barred: number;
}

const REQUEST_SECONDS_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 2];

export class TrackerMetrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<'call' | 'status'>;
  readonly #joins: Counter<'outcome'>;
  readonly #leaseRequests: Counter<'outcome'>;

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
      help: 'Lease requests by outcome: granted or refused.',
      labelNames: ['outcome'],
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

  leaseRequest(granted: boolean): void {
    this.#leaseRequests.inc({ outcome: granted ? 'granted' : 'refused' });
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
