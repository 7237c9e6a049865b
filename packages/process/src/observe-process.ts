/**
 * The process's own metrics, and how late its event loop was at worst since the last scrape: the longest turn of the loop, in which
 * whatever came had to wait. Node times every turn, without its idle time, so that no wait is too short to be seen and an idle process
 * is not woken for it; prom-client's own gauges look with a timer, and count the time between two looks as delay.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

const NANOSECONDS_PER_SECOND = 1e9;
/** prom-client's timer cannot be left out. */
const UNUSED_TIMER_MS = 24 * 3_600_000;

/** @param prefix of the names that are ours: `PREFIX_event_loop_delay_seconds` */
export function observeProcess(registry: Registry, prefix: string): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: UNUSED_TIMER_MS });
  for (const name of ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99']) {
    registry.removeSingleMetric(`nodejs_eventloop_lag${name}_seconds`);
  }
  const delay = monitorEventLoopDelay({ samplePerIteration: true });
  delay.enable();
  // The first turn is counted from here on, idle time included, so it must not be idle.
  setImmediate(() => delay.reset());
  new Gauge({
    name: `${prefix}_event_loop_delay_seconds`,
    help: "The longest that anything had to wait for this process since the last scrape: its event loop's longest turn.",
    registers: [registry],
    collect() {
      this.set(delay.max / NANOSECONDS_PER_SECOND);
      delay.reset();
    },
  });
}
