/** Reading answers: with backpressure and a stall deadline, whole with a bound, or not at all. */

import type { RateLane } from '../rate/rate-limit.ts';
import type { Answer } from './exchange.ts';
import { networkFailure } from './failure.ts';
import { OriginError } from './origin-client.ts';

/** More than this is not read only to keep a connection. */
const MAX_DISCARDED_BYTES = 64 * 1024;

export interface BodyLimits {
  stallMs: number;
  /** Fewer bytes are `cut-short`. Undefined when nobody announced it. */
  expectedBytes: number | undefined;
  /** More bytes are `invalid`. */
  maxBytes: number;
  onBytes: (sizeBytes: number) => void;
  /** Each chunk waits for it before it is handed on, and the sender with it. @default no wait */
  lane?: RateLane | undefined;
}

/** The body's chunks; leaving the loop early drops the connection. @throws OriginError */
export async function* readBody(answer: Answer, limits: BodyLimits): AsyncGenerator<Uint8Array, void, void> {
  const { body, url } = answer;
  const { stallMs, expectedBytes, maxBytes, onBytes, lane } = limits;
  const dropped = lane === undefined ? undefined : droppedSignal(answer);
  let receivedBytes = 0;
  let waiting = true;
  // One timer for the whole body. When it fires while the reader is busy it is nobody's stall.
  const timer = setTimeout(() => {
    if (waiting) body.destroy(new OriginError('timeout', `${url.host} sent nothing for ${stallMs} ms`));
  }, stallMs);
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      waiting = false;
      receivedBytes += chunk.length;
      onBytes(chunk.length);
      if (receivedBytes > maxBytes) throw new OriginError('invalid', `${url.host} sent more than ${maxBytes} bytes`);
      const leave = lane?.take(chunk.length, dropped);
      if (leave !== undefined) await leave;
      yield chunk;
      waiting = true;
      timer.refresh();
    }
  } catch (cause) {
    throw networkFailure(cause, url.host, true);
  } finally {
    clearTimeout(timer);
    body.destroy();
  }
  if (expectedBytes !== undefined && receivedBytes < expectedBytes) {
    throw new OriginError('cut-short', `${url.host} sent ${receivedBytes} of ${expectedBytes} bytes`);
  }
}

/** Fires when the body ends in any way but its own; the reason is an OriginError. */
function droppedSignal({ body, url }: Answer): AbortSignal {
  const dropped = new AbortController();
  body.once('close', () => {
    if (body.readableEnded) return;
    const cause = body.errored ?? new OriginError('cancelled', `reading from ${url.host} was stopped`);
    dropped.abort(networkFailure(cause, url.host, true));
  });
  return dropped.signal;
}

/** @throws OriginError; `invalid` when the body is larger than `maxBytes` */
export async function readWhole(answer: Answer, limits: Omit<BodyLimits, 'expectedBytes'>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readBody(answer, { ...limits, expectedBytes: contentLength(answer) })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Frees the connection: a short body is read so that the connection can be used again, a long one is dropped. */
export async function discard(answer: Answer, stallMs: number): Promise<void> {
  const limits = { stallMs, maxBytes: MAX_DISCARDED_BYTES, onBytes: () => {} };
  // To HEAD, Content-Length speaks of a body that does not come.
  if (answer.method === 'HEAD') answer.body.resume();
  else if ((contentLength(answer) ?? 0) > MAX_DISCARDED_BYTES) answer.body.destroy();
  else await readWhole(answer, limits).catch(() => {});
}

/** Undefined when absent or senseless. */
export function contentLength(answer: Answer): number | undefined {
  const text = answer.headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
