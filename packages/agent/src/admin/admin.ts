/**
 * The agent's face toward its operator, on loopback unless told otherwise. Read only: nothing here changes the agent.
 *
 * | path       | answer |
 * | ---------- | ------ |
 * | /healthz   | 200 while the process answers at all: a liveness probe that fails asks for a restart |
 * | /readyz    | 200, or 503 with the reasons why the mirror should not be used now |
 * | /metrics   | Prometheus text |
 * | /v1/status | JSON for `shoal status` |
 */
import type { AddressInfo } from 'node:net';
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import type { Metrics } from './metrics.ts';

const REQUEST_DEADLINE_MS = 5_000;
const MAX_CONNECTIONS = 64;

export interface AdminOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
}

export interface Readiness {
  ready: boolean;
  /** Why not; empty when ready. */
  reasons: string[];
}

export interface AdminDependencies {
  metrics: Pick<Metrics, 'text' | 'contentType'>;
  readiness: () => Readiness;
  /** Anything JSON can hold; without secrets. */
  status: () => object;
  logger: Logger;
}

export interface Admin {
  /** `http://HOST:PORT` */
  url: string;
  stop(): Promise<void>;
}

/** @throws the error of `listen` */
export async function startAdmin(options: AdminOptions, dependencies: AdminDependencies): Promise<Admin> {
  const { metrics, readiness, status, logger } = dependencies;
  const server = fastify({
    forceCloseConnections: true,
    connectionTimeout: REQUEST_DEADLINE_MS,
    requestTimeout: REQUEST_DEADLINE_MS,
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  server.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = readiness();
    return reply.status(ready ? 200 : 503).send({ ready, reasons });
  });
  server.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  server.get('/v1/status', async () => status());
  server.setNotFoundHandler((_request, reply) =>
    reply.status(404).send({ error: 'not found', paths: ['/healthz', '/readyz', '/metrics', '/v1/status'] }),
  );
  server.setErrorHandler((err, request, reply) => {
    logger.error({ err, path: request.routeOptions.url }, 'an admin request failed');
    return reply.status(500).send({ error: 'internal error' });
  });
  await listen(server, options);
  return { url: urlOf(options.host, server.server.address()), stop: () => server.close() };
}

async function listen(server: FastifyInstance, options: AdminOptions): Promise<void> {
  try {
    await server.listen(options);
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** A wildcard address stands as loopback, so that the URL can be used as it is. */
function urlOf(host: string, address: AddressInfo | string | null): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
