/**
 * The HTTPS face of the tracker: it bounds what comes in, checks it against the schemas of `@shoal/wire`, knows who
 * asks, and turns every failure into `{ error: { code, message } }`. It decides nothing itself.
 *
 *   connection ─► session, rate (onRequest) ─► size, JSON (Fastify) ─► schema ─► handler ─► answer
 *       │              └ 401, 403, 429           └ 400, 413              └ 400     └ 4xx; 500 says nothing but INTERNAL
 *       └ slow or silent callers are cut off by the time limits below
 */
import type { Socket } from 'node:net';
import { TRACKER_INSTANCE_HEADER } from '@shoal/wire';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HookHandlerDoneFunction,
} from 'fastify';
import type { Logger } from 'pino';
import type { ZodError, ZodType } from 'zod';
import type { Member, Membership } from '../members/membership.ts';
import { PASSED_HEADER } from '../replica/passing.ts';
import { type ApiCall, PassedAnswer, type Seat } from '../replica/seat.ts';
import { ApiError } from './api-error.ts';
import type { TrackerMetrics } from './metrics.ts';
import { RateBound } from './rate-bound.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
const TLS_HANDSHAKE_TIMEOUT_MS = 5_000;
/** Longer than agents wait between announcements, so that their connections stay open. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
const MAX_CONNECTIONS = 16_384;
const MAX_SMALL_BODY_BYTES = 16 * 1024;
/** 1,024 blobs announced and as many withdrawn, all of them sha512. */
export const MAX_ANNOUNCE_BODY_BYTES: number = 1024 * 1024;
const MAX_MESSAGE_CHARACTERS = 500;
const JSON_TYPE = 'application/json; charset=utf-8';
/**
 * Per address. A whole cluster may sit behind one and start at once, and a wrong secret costs no more than a hash: this
 * only keeps one address from taking all of the tracker. Secrets are too long to be guessed at any rate.
 */
const JOIN_RATE = { perSecond: 1_000, burst: 20_000 };
const MEMBER_RATE = { perSecond: 500, burst: 2_000 };

declare module 'fastify' {
  interface FastifyRequest {
    member: Member | undefined;
  }
}

export interface ServerOptions {
  tls: { key: string; cert: string };
}

export interface ServerDependencies {
  logger: Logger;
  clock: () => number;
  membership: Membership;
  metrics: TrackerMetrics;
  seat: Seat;
}

export interface CallOptions {
  maxBodyBytes?: number;
}

/** An answer that is JSON already. */
export class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export class ApiServer {
  readonly fastify: FastifyInstance;
  #connections = 0;
  readonly #dependencies: ServerDependencies;
  readonly #joinRate: RateBound;
  readonly #memberRate: RateBound;

  constructor(options: ServerOptions, dependencies: ServerDependencies) {
    this.#dependencies = dependencies;
    const { clock, metrics, seat } = dependencies;
    this.#joinRate = new RateBound(JOIN_RATE, { clock });
    this.#memberRate = new RateBound(MEMBER_RATE, { clock });
    const app = fastify({
      https: {
        ...options.tls,
        minVersion: 'TLSv1.3',
        handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
      },
      bodyLimit: MAX_SMALL_BODY_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      forceCloseConnections: 'idle',
      return503OnClosing: false,
    }) as unknown as FastifyInstance;
    app.server.maxConnections = MAX_CONNECTIONS;
    app.server.on('connection', (socket: Socket) => {
      this.#connections++;
      socket.once('close', () => this.#connections--);
    });
    app.decorateRequest('member', undefined);
    app.addHook('onRequest', async (_request, reply) => {
      void reply.header(TRACKER_INSTANCE_HEADER, seat.instance);
    });
    app.addHook('onResponse', async (request, reply) => {
      metrics.request(request.routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime);
    });
    app.setNotFoundHandler(() => {
      throw new ApiError(404, 'NOT_FOUND', 'there is no such call');
    });
    app.setErrorHandler(async (error, request, reply) => {
      const refusal = this.#refusalOf(error, request);
      await reply.code(refusal.status).send({ error: { code: refusal.code, message: refusal.message } });
    });
    app.get('/healthz', async () => ({ status: 'ok' }));
    app.get('/readyz', async (_request, reply) => {
      if (seat.ready) return { status: 'ready' };
      return reply.code(503).send({ status: 'nobody leads' });
    });
    app.get('/metrics', async (_request, reply) => {
      void reply.type(metrics.contentType);
      return metrics.text();
    });
    this.fastify = app;
  }

  /** Open now. */
  get connections(): number {
    return this.#connections;
  }

  /** Agents notice, and come back at once. */
  closeIdleConnections(): void {
    this.fastify.server.closeIdleConnections();
  }

  /** A call without a session: only joining. */
  openCall<T>(path: string, schema: ZodType<T>, handle: (body: T) => Promise<unknown>): void {
    const onRequest = async (request: FastifyRequest): Promise<void> => {
      if (!this.#joinRate.take(request.ip)) throw tooMany();
    };
    this.fastify.post(path, { onRequest }, (request, reply) =>
      this.#serve(request, reply, () => handle(parse(schema, request.body))),
    );
  }

  memberCall<T>(
    path: string,
    schema: ZodType<T>,
    handle: (member: Member, body: T) => unknown,
    { maxBodyBytes = MAX_SMALL_BODY_BYTES }: CallOptions = {},
  ): void {
    const onRequest = (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void => {
      // Awaited only when it must be: the session of most calls was checked before.
      const admitted = this.#admit(request);
      if (admitted instanceof Promise) admitted.then(() => done(), done);
      else done(admitted);
    };
    this.fastify.post(path, { onRequest, bodyLimit: maxBodyBytes }, (request, reply) => {
      const { member } = request;
      if (member === undefined) throw new TypeError('a call without its member');
      return this.#serve(request, reply, () => {
        // Whom the former leader barred was not known yet to one that began to lead when the call came in.
        this.#dependencies.membership.refuseBarred(member.peerId);
        return handle(member, parse(schema, request.body));
      });
    });
  }

  async #serve(request: FastifyRequest, reply: FastifyReply, here: () => unknown): Promise<unknown> {
    const call: ApiCall = {
      path: request.routeOptions.url ?? '',
      body: request.body,
      authorization: request.headers.authorization,
      isPassed: request.headers[PASSED_HEADER] !== undefined,
    };
    const answer = await this.#dependencies.seat.serve(call, here);
    if (answer instanceof PassedAnswer) {
      void reply.code(answer.status).header(TRACKER_INSTANCE_HEADER, answer.instance);
    } else {
      // It may be another one than when the call came in.
      void reply.header(TRACKER_INSTANCE_HEADER, this.#dependencies.seat.instance);
      if (!(answer instanceof JsonText)) return answer;
    }
    void reply.type(JSON_TYPE);
    return answer.text;
  }

  /** Whose call it is. Gives, or resolves to, the reason why it is refused. */
  #admit(request: FastifyRequest): ApiError | undefined | Promise<void> {
    const admit = (member: Member): void => {
      if (!this.#memberRate.take(member.peerId)) throw tooMany();
      request.member = member;
    };
    try {
      const member = this.#dependencies.membership.memberOf(sessionOf(request));
      if (member instanceof Promise) return member.then(admit);
      admit(member);
      return undefined;
    } catch (error) {
      if (error instanceof ApiError) return error;
      throw error;
    }
  }

  #refusalOf(error: unknown, request: FastifyRequest): ApiError {
    if (error instanceof ApiError) return error;
    const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
    if (error instanceof Error && typeof status === 'number' && status >= 400 && status < 500) {
      return new ApiError(status === 413 ? 413 : 400, 'BAD_REQUEST', error.message);
    }
    this.#dependencies.logger.error({ err: error, call: request.routeOptions.url }, 'a call failed');
    return new ApiError(500, 'INTERNAL', 'the tracker failed to answer; its log says why');
  }
}

function sessionOf(request: FastifyRequest): string {
  return /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
}

function parse<T>(schema: ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ApiError(400, 'BAD_REQUEST', messageOf(parsed.error));
}

function messageOf(error: ZodError): string {
  const issues = error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`);
  return issues.join('; ').slice(0, MAX_MESSAGE_CHARACTERS);
}

function tooMany(): ApiError {
  return new ApiError(429, 'TOO_MANY_REQUESTS', 'too many calls; wait a moment');
}
