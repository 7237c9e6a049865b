/** Tracing as it is configured. Only here are OpenTelemetry's libraries asked for, and only when there is an endpoint. */
import type { Logger } from 'pino';
import type { Metrics } from '../admin/metrics.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { Tracing } from './open-telemetry.ts';

export interface TracingDependencies {
  metrics: Pick<Metrics, 'spansSent' | 'spansDropped'>;
  logger: Logger;
}

/** Undefined, and none of its libraries loaded, when no endpoint is configured. */
export async function configuredTracing(
  { tracing: { endpoint, samplePercent }, zone }: Pick<AgentConfig, 'tracing' | 'zone'>,
  agent: { name: string; version: string; peerId: string },
  { metrics, logger }: TracingDependencies,
): Promise<Tracing | undefined> {
  if (endpoint === undefined) return undefined;
  const { startTracing } = await import('./open-telemetry.ts');
  let warned = false;
  return startTracing(
    { ...agent, zone, endpoint, sampleRatio: samplePercent / 100 },
    {
      onSent: (count) => metrics.spansSent(count),
      onDropped: (cause, count) => {
        metrics.spansDropped(cause, count);
        if (!warned) logger.warn({ cause, endpoint }, 'spans are dropped: the collector does not take them in time');
        warned = true;
      },
    },
  );
}
