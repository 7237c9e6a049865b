/**
 * The agent's face toward its operator, on loopback unless told otherwise.
 *
 * | path            | answer |
 * | --------------- | ------ |
 * | /healthz        | 200 while the process answers at all: a liveness probe that fails asks for a restart |
 * | /readyz         | 200, or 503 with the reasons why the mirror should not be used now |
 * | /metrics        | Prometheus text |
 * | /v1/status      | JSON for `shoal status` |
 * | POST /v1/forget | `{"image":"ghcr.io/org/app:v1"}`: what this tag was is forgotten; `{"forgotten":"ghcr.io/org/app:v1"}`, or 400 |
 * | POST /v1/check  | `{}`: facts for `shoal doctor`; `{"registry":"ghcr.io"}`: what that registry answers, or 400 |
 * | /v1/cache…      | see `cache-routes.ts` |
 * | /v1/prefetch    | orders to prefetch: `prefetch-routes.ts` |
 *
 * A web page cannot post JSON here: browsers ask first whether another origin may, and get no leave. One whose name was made to
 * mean this machine is no other origin to a browser: hence what is under /v1 is told to nobody who asks by a name of the internet.
 */
import { normaliseRegistryHost, parseImageReference } from '@shoal/oci';
import { isOwnName, urlOf } from '@shoal/process/addresses';
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { AgentCheck } from '../check/agent-check.ts';
import type { Repository } from '../origin/origin-client.ts';
import type { Prefetch } from '../prefetch/prefetch.ts';
import type { CacheDesk } from './cache-desk.ts';
import { addCacheRoutes, CACHE_PATHS } from './cache-routes.ts';
import type { Metrics } from './metrics.ts';
import { servePrefetch } from './prefetch-routes.ts';

const REQUEST_DEADLINE_MS = 5_000;
const MAX_CONNECTIONS = 64;
const MAX_BODY_BYTES = 4_096;
const DEFAULT_TAG = 'latest';
const PATHS = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/v1/status',
  '/v1/forget',
  '/v1/check',
  '/v1/prefetch',
  ...CACHE_PATHS,
];

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
  forget: (repository: Repository, tag: string) => Promise<void>;
  check: Pick<AgentCheck, 'facts' | 'registry'>;
  cache: CacheDesk;
  prefetch: Pick<Prefetch, 'place' | 'find' | 'list' | 'cancel'>;
  logger: Logger;
}

export interface Admin {
  /** `http://HOST:PORT` */
  url: string;
  stop(): Promise<void>;
}

/** @throws the error of `listen` */
export async function startAdmin(options: AdminOptions, dependencies: AdminDependencies): Promise<Admin> {
  const { metrics, readiness, status, forget, check, cache, logger } = dependencies;
  const server = fastify({
    forceCloseConnections: true,
    connectionTimeout: REQUEST_DEADLINE_MS,
    requestTimeout: REQUEST_DEADLINE_MS,
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  server.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  server.addHook('onRequest', async (request, reply) => {
    if (!request.url.startsWith('/v1/') || isOwnName(request.hostname)) return;
    await reply.status(403).send({ error: 'ask by the address of this machine, or by a name without dots' });
  });
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const { ready, reasons } = readiness();
    return reply.status(ready ? 200 : 503).send({ ready, reasons });
  });
  server.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  server.get('/v1/status', async () => status());
  server.removeContentTypeParser('text/plain');
  server.post('/v1/forget', { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    const image = textIn(request.body, 'image');
    const reference = image === undefined ? undefined : parseImageReference(image);
    if (reference === undefined || reference.digest !== undefined) {
      return reply.status(400).send({ error: 'not an image with a tag; an example: {"image":"ghcr.io/org/app:v1"}' });
    }
    const { registry, repository, tag = DEFAULT_TAG } = reference;
    await forget({ registry, name: repository }, tag);
    return { forgotten: `${registry}/${repository}:${tag}` };
  });
  server.post('/v1/check', { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    const asked = textIn(request.body, 'registry');
    if (asked === undefined) return await check.facts();
    const registry = normaliseRegistryHost(asked);
    if (registry === undefined) {
      return reply.status(400).send({ error: 'not a registry; an example: {"registry":"ghcr.io"}' });
    }
    return await check.registry(registry);
  });
  addCacheRoutes(server, cache);
  servePrefetch(server, dependencies.prefetch);
  server.setNotFoundHandler((_request, reply) => reply.status(404).send({ error: 'not found', paths: PATHS }));
  server.setErrorHandler((err, request, reply) => {
    const { statusCode, message } = err as { statusCode?: number; message: string };
    if (statusCode !== undefined && statusCode < 500) return reply.status(statusCode).send({ error: message });
    logger.error({ err, path: request.routeOptions.url }, 'an admin request failed');
    return reply.status(500).send({ error: 'internal error' });
  });
  await listen(server, options);
  return { url: urlOf('http', options.host, server.server.address()), stop: () => server.close() };
}

function textIn(body: unknown, key: string): string | undefined {
  const value = z.looseObject({ [key]: z.string() }).safeParse(body).data?.[key];
  return typeof value === 'string' ? value : undefined;
}

async function listen(server: FastifyInstance, options: AdminOptions): Promise<void> {
  try {
    // A copy: fastify writes into what it is given.
    await server.listen({ ...options });
  } catch (error) {
    await server.close();
    throw error;
  }
}
