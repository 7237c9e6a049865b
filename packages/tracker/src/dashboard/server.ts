/**
 * The page for people, on a port of its own: static files that anybody may have, and JSON for who has the token.
 *
 *   request ─► name it was asked by ─► rate ─► token ─► answer, made at most so often
 *                └ 403                  └ 429    └ 401; 429 for a minute after ten wrong ones
 *
 * Plain HTTP on loopback, where a tunnel (`kubectl port-forward`, ssh) ends; anywhere else HTTPS with the tracker's own key.
 * It changes nothing and loads nothing from anywhere else. What members say goes out as JSON alone; the page shows it as text.
 */
import { BlockList, isIP } from 'node:net';
import { isOwnName, urlOf } from '@shoal/process/addresses';
import { type FastifyInstance, type FastifyRequest, fastify } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import { RateBound } from '../api/rate-bound.ts';
import { sameSecret } from '../identity/same-secret.ts';
import { NotLeadingError } from '../replica/redis-shelf.ts';
import { MEMBER_ORDERS } from './members-page.ts';
import { readPageFiles } from './page-files.ts';
import { SharedAnswer } from './shared-answer.ts';
import type { DashboardSource } from './source.ts';
import { WrongTokens } from './wrong-tokens.ts';

const REQUEST_DEADLINE_MS = 5_000;
const MAX_CONNECTIONS = 128;
/** Per address: the page asks twice in two seconds, and people have several of them. */
const ASK_RATE = { perSecond: 20, burst: 60 };
/** Of all together: each of these looks at everything there is. */
const SEARCH_RATE = { perSecond: 3, burst: 20 };
const MAX_FIND_CHARACTERS = 300;
const MAX_PAGE = 10_000;
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const find = z.string().max(MAX_FIND_CHARACTERS).default('');
const membersQuery = z.object({
  find,
  order: z.enum(MEMBER_ORDERS).default('name'),
  descending: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true'),
  page: z.coerce.number().int().min(1).max(MAX_PAGE).default(1),
});
const heldQuery = z.object({ find });

export interface DashboardOptions {
  listen: { host: string; port: number };
  /** By which it may be asked, besides addresses and names without dots. */
  names: readonly string[];
  token: string;
  /** Used unless it listens on loopback. */
  tls: { key: string; cert: string };
}

export interface DashboardDependencies {
  /** As it is at each question. @throws NotLeadingError where another tracker answers */
  source: () => DashboardSource;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface Dashboard {
  /** `http://HOST:PORT`, or https; a wildcard address stands as loopback. */
  url: string;
  close(): Promise<void>;
}

/** @throws the error of `listen`, or of reading the page's files */
export async function startDashboard(
  options: DashboardOptions,
  dependencies: DashboardDependencies,
): Promise<Dashboard> {
  const { listen, tls } = options;
  const secure = !isLoopback(listen.host);
  const server = newServer(secure ? tls : undefined);
  server.server.maxConnections = MAX_CONNECTIONS;
  const names = new Set([listen.host, ...options.names].map((name) => name.toLowerCase()));
  server.addHook('onRequest', async (request, reply) => {
    void reply.headers(HEADERS);
    if (names.has(request.hostname.toLowerCase()) || isOwnName(request.hostname)) return;
    const error = 'ask by an address, by a name without dots, or by one that is given with --dashboard-name';
    await reply.status(403).send({ error });
  });
  for (const { path, type, content } of await readPageFiles()) {
    server.get(path, async (_request, reply) => reply.type(type).header('cache-control', 'no-cache').send(content));
  }
  serveAnswers(server, options, dependencies);
  server.setNotFoundHandler((_request, reply) => reply.status(404).send({ error: 'there is nothing here' }));
  server.setErrorHandler((error, request, reply) => {
    if (error instanceof z.ZodError) return reply.status(400).send({ error: 'this cannot be asked' });
    if (error instanceof NotLeadingError) {
      return reply.status(503).send({ error: 'another tracker of this cluster answers now: look at its page' });
    }
    const { statusCode = 500 } = error as { statusCode?: number };
    if (statusCode < 500) return reply.status(statusCode).send({ error: 'this cannot be asked' });
    dependencies.logger.error({ err: error, path: request.routeOptions.url }, 'the dashboard failed to answer');
    return reply.status(500).send({ error: 'the tracker failed to answer; its log says why' });
  });
  try {
    // A copy: fastify writes into what it is given.
    await server.listen({ ...listen });
  } catch (error) {
    await server.close();
    throw error;
  }
  return { url: urlOf(secure ? 'https' : 'http', listen.host, server.server.address()), close: () => server.close() };
}

function newServer(tls: { key: string; cert: string } | undefined): FastifyInstance {
  const options = {
    forceCloseConnections: true,
    connectionTimeout: REQUEST_DEADLINE_MS,
    requestTimeout: REQUEST_DEADLINE_MS,
    bodyLimit: 1,
  };
  if (tls === undefined) return fastify(options);
  const https = { ...tls, minVersion: 'TLSv1.3', handshakeTimeout: REQUEST_DEADLINE_MS } as const;
  return fastify({ ...options, https }) as unknown as FastifyInstance;
}

function serveAnswers(server: FastifyInstance, { token }: DashboardOptions, dependencies: DashboardDependencies): void {
  const { source, clock, logger } = dependencies;
  const asked = new RateBound(ASK_RATE, { clock });
  const searched = new RateBound(SEARCH_RATE, { clock });
  const wrong = new WrongTokens({ clock });
  const state = new SharedAnswer(() => source().state(), { now: () => performance.now() });
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    if (!asked.take(request.ip)) throw refusal(429);
    const given = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) throw refusal(401);
    if (wrong.isBlocked(request.ip)) throw refusal(429);
    if (sameSecret(given, token)) return;
    const message = 'wrong tokens were tried at the dashboard; that address is not listened to for a while';
    if (wrong.note(request.ip)) logger.warn({ address: request.ip }, message);
    throw refusal(401);
  };
  const json = (path: string, answer: (query: unknown) => object | string): void => {
    server.get(path, { onRequest }, async (request, reply) => {
      void reply.type('application/json; charset=utf-8').header('cache-control', 'no-store');
      const given = answer(request.query);
      return typeof given === 'string' ? given : JSON.stringify(given);
    });
  };
  json('/v1/state', () => state.text());
  const search = (answer: () => object): object => {
    if (!searched.take('all')) throw refusal(429);
    return answer();
  };
  json('/v1/members', (query) => search(() => source().members(membersQuery.parse(query))));
  json('/v1/held', (query) => search(() => source().held(heldQuery.parse(query).find)));
}

function refusal(statusCode: 401 | 429): Error {
  return Object.assign(new Error('refused'), { statusCode });
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return host === 'localhost' || (family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4'));
}
