/**
 * The agent's own HTTP face, on loopback by default: is it alive, is it ready, what has it done.
 * It never serves content and never shows a secret.
 */
import Fastify from 'fastify';
import type { Logger } from 'pino';
import type { Metrics } from './metrics.ts';

const CLOSE_DEADLINE_MS = 1_000;

export interface Readiness {
  ready: boolean;
  /** What is missing, for a person. */
  reasons: string[];
}

export interface AdminDependencies {
  metrics: Metrics;
  readiness: () => Readiness;
  /** Anything JSON can hold. */
  status: () => object;
  logger: Logger;
}

export interface Admin {
  /** `http://HOST:PORT` */
  url: string;
  close(): Promise<void>;
}

/** @throws when the address cannot be bound */
export async function startAdmin(
  listen: { host: string; port: number },
  { metrics, readiness, status, logger }: AdminDependencies,
): Promise<Admin> {
  const app = Fastify({ forceCloseConnections: true });
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = readiness();
    return reply.code(ready ? 200 : 503).send({ ready, reasons });
  });
  app.get('/metrics', async (_request, reply) => {
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  app.get('/v1/status', async () => status());
  app.setErrorHandler((err, _request, reply) => {
    logger.error({ err }, 'the admin page failed');
    return reply.code(500).send({ error: 'internal' });
  });
  const url = await app.listen(listen);
  const close = async (): Promise<void> => {
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_DEADLINE_MS).unref());
    await Promise.race([app.close(), late]);
  };
  return { url, close };
}
