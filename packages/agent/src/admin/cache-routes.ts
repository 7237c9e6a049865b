/**
 * The cache in the admin API. What is long comes as one line of JSON each, as long as the client listens.
 *
 * | path                  | body → answer |
 * | --------------------- | ------------- |
 * | /v1/cache/blobs       | → lines: a blob each, the least recently used first |
 * | /v1/cache/pins        | → `{"pins":[…],"usage":{…}}` |
 * | POST /v1/cache/remove | `{"names":["sha256:…","ghcr.io/org/app:v1"],"force":false}` → what went |
 * | POST /v1/cache/prune  | `{"keepBytes":0,"olderThanMs":0,"dryRun":false}`, each may be left out → what went, or would |
 * | POST /v1/cache/verify | `{}` → lines: how far it is, and what was damaged since the line before |
 * | POST /v1/cache/pin    | `{"names":[…]}` → `{"pins":[…]}` |
 * | POST /v1/cache/unpin  | `{"names":[…]}` → `{"unpinned":[…]}` |
 *
 * What cannot be done is answered with 409, a body that is not as above with 400; each as `{"error":"…"}`.
 */
import { Readable } from 'node:stream';
import { digestOf, registryOf } from '@shoal/oci';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { z } from 'zod';
import type { KeptBlob } from '../store/blob-store.ts';
import { type CacheDesk, CacheRefusal, type CacheUsage, type ListedBlob, type VerifyProgress } from './cache-desk.ts';

export const CACHE_PATHS = ['blobs', 'pins', 'remove', 'prune', 'verify', 'pin', 'unpin'].map(
  (name) => `/v1/cache/${name}`,
);

const MAX_NAMES = 100;
const MAX_NAME_LENGTH = 512;
const MAX_BODY_BYTES: number = 64 * 1024;
/** Of what went, so many are named; all are counted. */
const MAX_NAMED = 1_000;
/** Well within the time after which a silent connection is closed. */
const TELL_EVERY_MS = 500;
/** Removing many files takes longer than a silent connection is given. */
const REMOVE_WITHIN_MS = 120_000;
const LINES = 'application/x-ndjson';

const names = z.array(z.string().min(1).max(MAX_NAME_LENGTH)).min(1).max(MAX_NAMES);
const namesSchema = z.strictObject({ names });
const removeSchema = z.strictObject({ names, force: z.boolean().default(false) });
const pruneSchema = z.strictObject({
  keepBytes: z.int().nonnegative().optional(),
  olderThanMs: z.int().nonnegative().optional(),
  dryRun: z.boolean().default(false),
});
const verifySchema = z.strictObject({});

export function addCacheRoutes(server: FastifyInstance, desk: CacheDesk): void {
  server.get('/v1/cache/blobs', (_request, reply) => sendLines(reply, desk.list(), blobJson));
  server.get('/v1/cache/pins', async () => ({ pins: desk.pins(), usage: desk.usage() }));
  const post = <S extends z.ZodType>(
    name: string,
    schema: S,
    answer: (body: z.output<S>, reply: FastifyReply) => unknown,
  ): void => {
    server.post(`/v1/cache/${name}`, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const body = schema.safeParse(request.body);
      if (!body.success) return reply.status(400).send({ error: z.prettifyError(body.error).replaceAll('\n', ' ') });
      request.raw.socket.setTimeout(REMOVE_WITHIN_MS);
      try {
        return await answer(body.data, reply);
      } catch (error) {
        if (!(error instanceof CacheRefusal)) throw error;
        return reply.status(409).send({ error: error.message, code: error.code });
      }
    });
  };
  post('remove', removeSchema, async ({ names, force }) => {
    const { removed, keptPinned } = await desk.remove(names, force);
    return { ...went(removed, desk.usage()), keptPinned };
  });
  post('prune', pruneSchema, async ({ keepBytes, olderThanMs, dryRun }) => {
    const { blobs, partials, bytes } = await desk.prune({ keepBytes, olderThanMs, isDryRun: dryRun });
    return { ...went(blobs, desk.usage()), bytes, partials };
  });
  post('pin', namesSchema, async ({ names }) => ({ pins: await desk.pin(names) }));
  post('unpin', namesSchema, async ({ names }) => ({ unpinned: await desk.unpin(names) }));
  post('verify', verifySchema, async (_body, reply) => {
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const progress = desk.verify(gone.signal, TELL_EVERY_MS);
    // The first one says whether it may be done at all.
    const first = await progress.next();
    return sendLines(reply, continued(first, progress), verifyJson);
  });
}

async function* continued<T>(first: IteratorResult<T>, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

function sendLines<T>(reply: FastifyReply, items: AsyncIterable<T>, json: (item: T) => object): FastifyReply {
  return reply.type(LINES).send(Readable.from(linesOf(items, json)));
}

async function* linesOf<T>(items: AsyncIterable<T>, json: (item: T) => object): AsyncGenerator<string> {
  for await (const item of items) yield `${JSON.stringify(json(item))}\n`;
}

function went(blobs: readonly KeptBlob[], usage: CacheUsage): object {
  return {
    blobs: blobs.length,
    bytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    named: blobs.slice(0, MAX_NAMED).map(blobJson),
    usage,
  };
}

function blobJson(blob: KeptBlob | ListedBlob): object {
  const { id, sizeBytes, mediaType, usedAtMs, isPinned, isInUse } = blob;
  return {
    registry: registryOf(id),
    digest: digestOf(id),
    sizeBytes,
    kind: 'kind' in blob ? blob.kind : undefined,
    mediaType,
    usedAt: new Date(usedAtMs).toISOString(),
    pinned: isPinned,
    inUse: isInUse,
  };
}

function verifyJson({ damaged, isDone, ...progress }: VerifyProgress): object {
  return { ...progress, damaged: damaged.map(blobJson), done: isDone };
}
