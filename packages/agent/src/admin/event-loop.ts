/**
 * How late the event loop was at worst since the last scrape. In place of prom-client's gauges, which count the time between two
 * looks as delay.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** The delay is found by a timer; one of 10 ms, as is usual, would wake an idle agent 100 times a second. */
const SAMPLE_MS = 200;
const NANOSECONDS_PER_MS = 1e6;

/** The process's own metrics, with this one. */
export function observeProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: SAMPLE_MS });
  for (const name of ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99']) {
    registry.removeSingleMetric(`nodejs_eventloop_lag${name}_seconds`);
  }
  const delay = monitorEventLoopDelay({ resolution: SAMPLE_MS });
  delay.enable();
  new Gauge({
    name: 'shoal_event_loop_delay_seconds',
    help: 'The longest that anything had to wait for this process since the last scrape, looked at five times a second.',
    registers: [registry],
    collect() {
      this.set(Math.max(0, delay.max / NANOSECONDS_PER_MS - SAMPLE_MS) / 1_000);
      delay.reset();
    },
  });
}
