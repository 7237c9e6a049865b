/**
 * The mirror: the OCI distribution API toward the container runtimes of this node, pull side only.
 *
 * 1. route     URL and headers → which object of which upstream repository (pure);
 * 2. refuse    writes (405), malformed names (400), loops (508), registries that may not be dialled (404);
 * 3. decide    tag → digest (`access/reference-resolver`), may it be read (`access`), who has it (`pull`).
 *              A decision takes at most nine seconds, and whatever goes wrong in it ends as a 404, because that is
 *              the one answer on which every runtime goes upstream at once;
 * 4. send      small answers whole; blobs as they arrive, checked bytes only. From the first byte on nothing may fail:
 *              `pull` changes sources inside the body, and if none is left the connection is closed short, with a FIN.
 *
 * It is called by runtimes, over loopback by default. It has no challenge of its own, never redirects, never encodes a
 * body, and knows neither peers nor the origin's protocol.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { hostAndPort } from '@shoal/process/addresses';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { ClientAuthorization } from '../origin/asker.ts';
import { OriginError } from '../origin/origin-client.ts';
import { PullError } from '../pull/pull-error.ts';
import type { RequestTracer, Span } from '../tracing/span.ts';
import {
  type Answer,
  type AnswerResult,
  isStream,
  notServed,
  originErrorIn,
  refusal,
  relayedChallenge,
  type SmallAnswer,
} from './answer.ts';
import { answerBlob } from './blob-answer.ts';
import { answerDue, type Exchange, type Sources } from './exchange.ts';
import { hasPassedAgent } from './loop.ts';
import { answerManifest } from './manifest-answer.ts';
import { answerRelay } from './relay-answer.ts';
import { beginSpan, endSpan } from './request-span.ts';
import { parseRoute, type Route } from './route.ts';
import { type StreamOutcome, streamBody } from './stream-body.ts';

const DEFAULT_REGISTRY = 'docker.io';
/** Longer than the 30 s for which Go clients keep an idle connection, so that they never reuse a closed one. */
const DEFAULT_KEEP_ALIVE_TIMEOUT_MS = 75_000;
const DEFAULT_ANSWER_DEADLINE_MS = 9_000;
const DEFAULT_CLIENT_STALL_MS: number = 5 * 60_000;
const DEFAULT_CLOSE_GRACE_MS = 5_000;
const DEFAULT_MAX_CONNECTIONS = 1024;
/** A request has no body worth waiting for. */
const REQUEST_TIMEOUT_MS = 30_000;
/** After the grace, time for the last FINs. */
const CLOSE_LINGER_MS = 500;

export interface MirrorOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** A listening socket that is there already, in place of `host` and `port`; whoever made it holds it open beyond this mirror. */
  fd?: number | undefined;
  /** Where a name without a registry leads. @default docker.io */
  defaultRegistry?: string;
  /** @default 75 s */
  keepAliveTimeoutMs?: number;
  /** Response headers are sent within this time. @default 9 s */
  answerDeadlineMs?: number;
  /** A client that takes no byte for this long is cut off. @default 5 min */
  clientStallMs?: number;
  /** How long running downloads may go on after `close`, unless it says. @default 5 s */
  closeGraceMs?: number;
  /** @default 1024 */
  maxConnections?: number;
}

export type RequestKind = Route['kind'] | 'write';
export type RequestResult = AnswerResult | Exclude<StreamOutcome['kind'], 'complete'>;

/** Called for every request; must not throw. */
export interface MirrorObserver {
  onRequest(request: { kind: RequestKind; result: RequestResult; seconds: number }): void;
  onBytesToClient(count: number): void;
  /** The first bytes of a body are out, so long after its request came. */
  onFirstByte(kind: RequestKind, seconds: number): void;
}

export interface MirrorDependencies extends Sources {
  logger: Logger;
  observer: MirrorObserver;
  /** @default nothing is traced */
  tracer?: RequestTracer | undefined;
  /** Milliseconds; only differences count. */
  now: () => number;
}

export interface Mirror {
  /** `HOST:PORT`, IPv6 in brackets. */
  address: string;
  /** Requests being answered. */
  readonly open: number;
  /**
   * Takes no connection any more, sends what still comes on those that are there upstream, and lets running downloads go on for
   * the grace, then cuts them. Again: waits for the same. Resolves to how many were cut. Where the socket was handed over,
   * connections wait in it for the next process.
   */
  close(graceMs?: number): Promise<number>;
}

/** @throws when the address cannot be bound */
export async function startMirror(options: MirrorOptions, dependencies: MirrorDependencies): Promise<Mirror> {
  const server = new MirrorServer(options, dependencies);
  await server.listen();
  return server;
}

class MirrorServer implements Mirror {
  readonly #options: MirrorOptions;
  readonly #dependencies: MirrorDependencies;
  readonly #app: FastifyInstance;
  readonly #running = new Set<AbortController>();
  #closing: Promise<number> | undefined;

  constructor(options: MirrorOptions, dependencies: MirrorDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#app = Fastify({
      keepAliveTimeout: options.keepAliveTimeoutMs ?? DEFAULT_KEEP_ALIVE_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      exposeHeadRoutes: false,
      // While closing, a 404 of our own serves a client better than a 503, which some retry here.
      return503OnClosing: false,
      genReqId: (request) => pullIdOf(request.headers['x-request-id']),
      frameworkErrors: (_, _request, reply) => void sendAnswer(reply, refusal(400, 'NAME_INVALID', 'malformed URL')),
    });
    this.#app.server.maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    this.#app.addHook('onRequest', async (request, reply) => this.#screen(request, reply));
    this.#app.setNotFoundHandler((_, reply) => sendAnswer(reply, unknownPath()));
    this.#app.setErrorHandler((err, request, reply) => {
      dependencies.logger.error({ err, pullId: request.id }, 'the mirror failed');
      return sendAnswer(reply, refusal(404, 'UNSUPPORTED', 'the mirror failed'));
    });
    for (const url of ['/v2', '/v2/*']) {
      this.#app.route({ method: ['GET', 'HEAD'], url, handler: (request, reply) => this.#serve(request, reply) });
    }
  }

  get address(): string {
    const { address, port } = this.#app.server.address() as AddressInfo;
    return hostAndPort(address, port);
  }

  async listen(): Promise<void> {
    const { host, port, fd } = this.#options;
    if (fd === undefined) {
      await this.#app.listen({ host, port });
      return;
    }
    // Not by fastify, which knows nothing of descriptors, nor of sockets without an address.
    const { server } = this.#app;
    await this.#app.ready();
    server.listen({ fd });
    await once(server, 'listening');
    const bound = server.address();
    if (bound !== null && typeof bound === 'object') return;
    await this.#app.close();
    throw new Error('it is not a TCP socket');
  }

  get open(): number {
    return this.#running.size;
  }

  close(graceMs: number = this.#options.closeGraceMs ?? DEFAULT_CLOSE_GRACE_MS): Promise<number> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<number> {
    let cutCount = 0;
    const cut = setTimeout(() => {
      cutCount = this.#running.size;
      for (const request of this.#running) request.abort(new OriginError('cancelled', 'the mirror is closing'));
    }, graceMs);
    const drop = setTimeout(() => this.#app.server.closeAllConnections(), graceMs + CLOSE_LINGER_MS);
    try {
      await this.#app.close();
      return cutCount;
    } finally {
      clearTimeout(cut);
      clearTimeout(drop);
    }
  }

  /** Before routing: what is refused whatever its path. */
  async #screen(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    void reply.headers({ 'docker-distribution-api-version': 'registry/2.0', 'x-request-id': request.id });
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#dependencies.observer.onRequest({ kind: 'write', result: 'refused', seconds: 0 });
      void reply.headers({ allow: 'GET, HEAD', connection: 'close' });
      await sendAnswer(reply, refusal(405, 'UNSUPPORTED', 'the mirror is read-only'));
    } else if (hasPassedAgent(request.headers.via)) {
      this.#dependencies.logger.error(
        { pullId: request.id, url: request.raw.url },
        'a registry address leads back here',
      );
      await sendAnswer(reply, refusal(508, 'DENIED', 'this request has already passed a Shoal agent'));
    } else if (this.#closing !== undefined) {
      this.#dependencies.observer.onRequest({ kind: 'unknown', result: 'not-found', seconds: 0 });
      void reply.header('connection', 'close');
      await sendAnswer(reply, refusal(404, 'UNSUPPORTED', 'this agent is stopping'));
    }
  }

  async #serve(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { observer, now, tracer } = this.#dependencies;
    const startedMs = now();
    const route = this.#route(request);
    const logger = this.#dependencies.logger.child({ pullId: request.id, kind: route.kind, method: request.method });
    if ('namespace' in route && route.namespace !== undefined) void reply.header('oci-namespace', route.namespace);

    const span = beginSpan(tracer, route, request);
    const gone = new AbortController();
    const onClose = () => gone.abort(new OriginError('cancelled', 'the client has gone'));
    this.#running.add(gone);
    reply.raw.once('close', onClose);
    let result: RequestResult = 'client-gone';
    try {
      const answer = await this.#decide(route, request, { logger, span, signal: gone.signal });
      const onFirstByte = (): void => {
        const waitedMs = now() - startedMs;
        observer.onFirstByte(route.kind, waitedMs / 1000);
        span?.set({ 'shoal.first_byte_ms': Math.round(waitedMs) });
      };
      result = await this.#send(reply, answer, logger, onFirstByte);
    } finally {
      this.#running.delete(gone);
      reply.raw.off('close', onClose);
      // A connection that falls idle now would be waited for.
      if (this.#closing !== undefined) reply.raw.once('finish', () => this.#closeIdleSoon());
      const seconds = (now() - startedMs) / 1000;
      logger.debug({ url: request.raw.url, range: request.headers.range, result, seconds }, 'request');
      observer.onRequest({ kind: route.kind, result, seconds });
      if (span !== undefined) endSpan(span, reply, result);
    }
  }

  #closeIdleSoon(): void {
    setImmediate(() => this.#app.server.closeIdleConnections());
  }

  #route(request: FastifyRequest): Route {
    const header = request.headers['oci-namespace'];
    const namespace = Array.isArray(header) ? header[0] : header;
    return parseRoute(request.raw.url ?? '', namespace, this.#options.defaultRegistry ?? DEFAULT_REGISTRY);
  }

  /** Never rejects: whatever goes wrong is a 404, or the registry's own challenge. */
  async #decide(
    route: Route,
    request: FastifyRequest,
    { logger, span, signal }: { logger: Logger; span: Span | undefined; signal: AbortSignal },
  ): Promise<Answer> {
    const deadline = new AbortController();
    const deadlineMs = this.#options.answerDeadlineMs ?? DEFAULT_ANSWER_DEADLINE_MS;
    const timer = setTimeout(() => deadline.abort(answerDue()), deadlineMs);
    const range = request.headers.range;
    const ifRange = request.headers['if-range'];
    const accept = request.headers.accept;
    const exchange: Exchange = {
      client: ClientAuthorization.from(request.headers.authorization),
      pullId: request.id,
      isHead: request.method === 'HEAD',
      range,
      ifRange: Array.isArray(ifRange) ? ifRange[0] : ifRange,
      accept,
      logger,
      span,
      signal,
      due: AbortSignal.any([signal, deadline.signal]),
    };
    try {
      return await answerRoute(route, exchange, this.#dependencies);
    } catch (error) {
      const challenge = signal.aborted ? undefined : relayedChallenge(error, isLoopback(request.socket.remoteAddress));
      if (challenge !== undefined) return challenge;
      if (!signal.aborted) logNotServed(logger, route, error);
      return notServed(route.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(reply: FastifyReply, answer: Answer, logger: Logger, onFirstByte: () => void): Promise<RequestResult> {
    const { observer } = this.#dependencies;
    const { body } = answer;
    if (reply.raw.destroyed) {
      if (isStream(body)) body.close();
      reply.hijack();
      return 'client-gone';
    }
    if (!isStream(body)) {
      if (reply.request.method !== 'HEAD') observer.onBytesToClient(body.length);
      await sendAnswer(reply, { ...answer, body });
      return answer.result;
    }
    reply.hijack();
    try {
      reply.raw.statusCode = answer.status;
      for (const [name, value] of Object.entries({ ...reply.getHeaders(), ...answer.headers })) {
        if (value !== undefined) reply.raw.setHeader(name, value);
      }
      const stallMs = this.#options.clientStallMs ?? DEFAULT_CLIENT_STALL_MS;
      const outcome = await streamBody(reply.raw, body, {
        stallMs,
        onFirstByte,
        onBytes: (count) => observer.onBytesToClient(count),
      });
      if (outcome.kind === 'cut-short') logger.warn({ err: outcome.error }, 'no source left: closed the body short');
      if (outcome.kind === 'client-stalled') logger.info({ stallMs }, 'the client stopped reading');
      return outcome.kind === 'complete' ? answer.result : outcome.kind;
    } finally {
      body.close();
    }
  }
}

/** @throws OriginError, PullError, or a signal's reason */
async function answerRoute(route: Route, exchange: Exchange, sources: Sources): Promise<Answer> {
  if (route.kind === 'ping') {
    return { status: 200, headers: { 'content-type': 'application/json' }, body: '{}', result: 'ok' };
  }
  if (route.kind === 'malformed') return refusal(400, route.code, route.message);
  if (route.kind === 'unknown') return unknownPath();
  const { repository } = route;
  if (!sources.origin.allowed(repository.registry)) {
    exchange.logger.info({ registry: repository.registry }, 'a registry that may not be dialled');
    return refusal(404, 'NAME_UNKNOWN', `registry ${repository.registry} is not allowed here`);
  }
  if (route.kind === 'manifest') return await answerManifest(repository, route.reference, exchange, sources);
  if (route.kind === 'blob') return await answerBlob(repository, route.digest, exchange, sources);
  const tail = route.kind === 'tags' ? 'tags/list' : `referrers/${route.digest}`;
  return await answerRelay(route, tail, exchange, sources);
}

function logNotServed(logger: Logger, route: Route, error: unknown): void {
  const repository = 'repository' in route ? route.repository : undefined;
  const origin = originErrorIn(error);
  if (origin?.code === 'rate-limited') {
    logger.warn({ repository, retryAfterMs: origin.retryAfterMs }, 'not served: the origin limits our rate');
  } else if (error instanceof OriginError || error instanceof PullError) {
    logger.info({ repository, code: error.code, origin: origin?.code, reason: error.message }, 'not served');
  } else {
    logger.error({ err: error, repository }, 'not served: the mirror failed');
  }
}

function unknownPath(): SmallAnswer {
  return refusal(404, 'UNSUPPORTED', 'not a path of the distribution API');
}

/** Bytes, never text: fastify adds a charset to the type of a text, and containerd then takes a manifest for none. */
async function sendAnswer(reply: FastifyReply, { status, headers, body }: SmallAnswer): Promise<void> {
  await reply.code(status).headers(headers).send(Buffer.from(body));
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\.)/.test(address);
}

/** The client's own id when it is short and plain, so that its logs and ours meet. */
function pullIdOf(header: string | string[] | undefined): string {
  if (typeof header === 'string' && /^[\w.-]{1,64}$/.test(header)) return header;
  return randomBytes(6).toString('hex');
}
