/** The metrics of the process itself, with how late its event loop was at worst since the last scrape. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** The delay is found by a timer: five looks a second cost nothing. */
const SAMPLE_MS = 200;
const NANOSECONDS_PER_MS = 1e6;

export function observeProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: SAMPLE_MS });
  // At this precision they would count the time between two looks as delay.
  for (const name of ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99']) {
    registry.removeSingleMetric(`nodejs_eventloop_lag${name}_seconds`);
  }
  const delay = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  delay.enable();
  new Gauge({
    name: 'shoal_tracker_event_loop_delay_seconds',
    help: 'The longest that any call had to wait for this process since the last scrape, looked at five times a second.',
    registers: [registry],
    collect() {
      this.set(Math.max(0, delay.max / NANOSECONDS_PER_MS - SAMPLE_MS) / 1_000);
      delay.reset();
    },
  });
}
