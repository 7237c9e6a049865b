/**
 * Blobs: decided before the first byte, then streamed. A range is answered exactly whether the blob is here or not,
 * because a client that once got a 206 does not look whether the next answer is one. The size comes from the manifest
 * that named the blob, or from the store, or from the origin; only if nobody knows it are ranges ignored.
 */
import { applyRange, type Digest, parseRangeHeader, type RangeHeader } from '@shoal/oci';
import type { Repository } from '../origin/origin-client.ts';
import type { BlobReader } from '../pull/pulls.ts';
import { type Answer, type BodyStream, unsatisfiableRange } from './answer.ts';
import { type Exchange, mustBeReadable, openReader, type Sources } from './exchange.ts';

/** @throws OriginError, PullError, or the reason of a signal: nothing was sent, and nothing can be served */
export async function answerBlob(
  repository: Repository,
  digest: Digest,
  exchange: Exchange,
  sources: Sources,
): Promise<Answer> {
  const { sizeBytes: hint, asker } = await mustBeReadable({ repository, digest, kind: 'blob' }, exchange, sources);
  const headers = headersOf(digest);
  if (exchange.isHead && hint !== undefined) return headAnswer(hint, headers);

  const isSame = exchange.ifRange === undefined || exchange.ifRange === headers.etag;
  const range = parseRangeHeader(exchange.isHead || !isSame ? undefined : exchange.range);
  if (hint !== undefined && applyRange(range, hint).kind === 'unsatisfiable') return unsatisfiableRange(hint);
  const source = {
    repository,
    kind: 'blob',
    asker,
    pullId: exchange.pullId,
    span: exchange.span,
    ...(hint === undefined ? {} : { sizeHintBytes: hint }),
  } as const;
  const reader = await openReader(exchange, sources, digest, source, likelyStart(range, hint));
  let answer: Answer | undefined;
  try {
    answer = exchange.isHead
      ? headAnswer(reader.sizeBytes, headers)
      : await rangeAnswer(reader, range, headers, exchange);
    return answer;
  } finally {
    if (answer === undefined || typeof answer.body === 'string') reader.close();
  }
}

/** Where reading will begin, as far as it can be told before the size is certain. */
function likelyStart(range: RangeHeader, sizeBytes: number | undefined): number {
  if (sizeBytes === undefined) return range.kind === 'from' ? range.first : 0;
  const asked = applyRange(range, sizeBytes);
  return asked.kind === 'range' ? asked.start : 0;
}

function headAnswer(sizeBytes: number | undefined, headers: Record<string, string>): Answer {
  const length = sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) };
  return { status: 200, headers: { ...headers, ...length }, body: '', result: 'ok' };
}

async function rangeAnswer(
  reader: BlobReader,
  range: RangeHeader,
  headers: Record<string, string>,
  exchange: Exchange,
): Promise<Answer> {
  const { sizeBytes } = reader;
  if (sizeBytes === undefined) {
    const body = await startStream(reader, 0, undefined, undefined, exchange);
    return { status: 200, headers, body, result: 'ok' };
  }
  const asked = applyRange(range, sizeBytes);
  if (asked.kind === 'unsatisfiable') return unsatisfiableRange(sizeBytes);
  const isPart = asked.kind === 'range';
  const start = isPart ? asked.start : 0;
  const end = isPart ? asked.end : sizeBytes;
  const body = await startStream(reader, start, end, end - start, exchange);
  const sized = { ...headers, 'content-length': String(end - start) };
  if (!isPart) return { status: 200, headers: sized, body, result: 'ok' };
  const contentRange = `bytes ${start}-${end - 1}/${sizeBytes}`;
  return { status: 206, headers: { ...sized, 'content-range': contentRange }, body, result: 'ok' };
}

/**
 * Waits for the first bytes, so that a source that fails at once still becomes a 404. When an answer is due before
 * they are here, the head goes out without them: the source is at work.
 */
async function startStream(
  reader: BlobReader,
  start: number,
  end: number | undefined,
  lengthBytes: number | undefined,
  exchange: Exchange,
): Promise<BodyStream> {
  const rest = reader.bytes(start, end, exchange.signal)[Symbol.asyncIterator]();
  const first = rest.next();
  const due = Promise.withResolvers<undefined>();
  const onDue = () => due.resolve(undefined);
  exchange.due.addEventListener('abort', onDue, { once: true });
  if (exchange.due.aborted) onDue();
  try {
    await Promise.race([first, due.promise]);
  } finally {
    exchange.due.removeEventListener('abort', onDue);
  }
  return { lengthBytes, chunks: resumed(first, rest), close: () => reader.close() };
}

async function* resumed(
  first: Promise<IteratorResult<Uint8Array>>,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let step = await first; step.done !== true; step = await rest.next()) yield step.value;
  } finally {
    await rest.return?.();
  }
}

function headersOf(digest: Digest): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'accept-ranges': 'bytes',
  };
}
