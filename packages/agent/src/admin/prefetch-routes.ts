/**
 * Orders to prefetch, at the admin address; the answers are those of the tracker's API. What is refused is told as
 * `{"error":"…","refused":true}`.
 *
 * | path                    | answer |
 * | ----------------------- | ------ |
 * | POST /v1/prefetch       | `{"images":[…]}` and what of platform, bytesPerSecond, names, zone, everywhere is wanted: the order |
 * | GET /v1/prefetch        | `{"orders":[…]}`, without nodes |
 * | GET /v1/prefetch/:id    | the order with its nodes, or 404 |
 * | DELETE /v1/prefetch/:id | the same, once it is cancelled |
 */
import { prefetchRequestSchema } from '@shoal/wire';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Prefetch } from '../prefetch/prefetch.ts';
import { PrefetchError, type PrefetchErrorCode } from '../prefetch/prefetch-error.ts';

const MAX_BODY_BYTES: number = 256 * 1024;

const placedSchema = prefetchRequestSchema.extend({ everywhere: z.boolean().optional() });

const STATUS: Readonly<Partial<Record<PrefetchErrorCode, number>>> = { 'bad-order': 400, unknown: 404, busy: 429 };

export function servePrefetch(
  server: FastifyInstance,
  prefetch: Pick<Prefetch, 'place' | 'find' | 'list' | 'cancel'>,
): void {
  server.post('/v1/prefetch', { bodyLimit: MAX_BODY_BYTES }, (request, reply) =>
    answer(reply, async () => {
      const parsed = placedSchema.safeParse(request.body);
      if (parsed.success) return await prefetch.place(parsed.data);
      const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`);
      throw new PrefetchError('bad-order', issues.join('; '));
    }),
  );
  server.get('/v1/prefetch', (_request, reply) => answer(reply, async () => ({ orders: await prefetch.list() })));
  server.get<{ Params: { id: string } }>('/v1/prefetch/:id', ({ params }, reply) =>
    answer(reply, () => prefetch.find(params.id)),
  );
  server.delete<{ Params: { id: string } }>('/v1/prefetch/:id', ({ params }, reply) =>
    answer(reply, () => prefetch.cancel(params.id)),
  );
}

async function answer(reply: FastifyReply, act: () => Promise<object>): Promise<FastifyReply> {
  try {
    return reply.send(await act());
  } catch (error) {
    if (!(error instanceof PrefetchError)) throw error;
    return reply.status(STATUS[error.code] ?? 503).send({ error: error.message, refused: true });
  }
}
