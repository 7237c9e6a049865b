// Sends a body with the faults that strike it. A piece of body is written when the one before has left, so the count
// of bytes is honest and nothing piles up for a slow reader.
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Content } from './content.ts';
import type { Strikes } from './fault.ts';

const writtenAtOnceBytes = 128 * 1024;
const slowWritesPerSecond = 20;

export interface SentBody {
  readonly content: Content;
  /** `[start, end)` of the content. */
  readonly start: number;
  readonly end: number;
}

/** Resolves when the answer is over, one way or the other. */
export async function sendBody(
  response: ServerResponse,
  body: SentBody,
  strikes: Strikes,
  onSent: (sizeBytes: number) => void,
): Promise<void> {
  const { content, start, end } = body;
  const stop = strikes.get('stall') ?? strikes.get('reset') ?? strikes.get('cut-short');
  const stopAt = stop === undefined ? Infinity : start + stop.afterBytes;
  const bytesPerSecond = strikes.get('slow')?.bytesPerSecond;
  const atOnceBytes =
    bytesPerSecond === undefined
      ? writtenAtOnceBytes
      : Math.min(writtenAtOnceBytes, Math.max(1, Math.ceil(bytesPerSecond / slowWritesPerSecond)));
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  response.flushHeaders();

  let at = start;
  while (at < end && at < stopAt && !response.destroyed) {
    const chunk = content.read(at, Math.min(atOnceBytes, end - at, stopAt - at));
    if (!(await written(response, damaged(chunk, at, strikes), closed.signal))) return;
    onSent(chunk.length);
    at += chunk.length;
    if (bytesPerSecond !== undefined) {
      await sleep((1000 * chunk.length) / bytesPerSecond, undefined, { signal: closed.signal }).catch(() => {});
    }
  }
  if (response.destroyed) return;
  if (stop === undefined || at < stopAt) response.end();
  else if (stop.type === 'cut-short') response.socket?.end();
  else if (stop.type === 'reset') response.socket?.resetAndDestroy();
}

function damaged(chunk: Buffer, at: number, strikes: Strikes): Buffer {
  const index = (strikes.get('wrong-byte')?.offset ?? -1) - at;
  if (index < 0 || index >= chunk.length) return chunk;
  const copy = Buffer.from(chunk);
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

function written(response: ServerResponse, chunk: Buffer, closed: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const gone = (): void => resolve(false);
    closed.addEventListener('abort', gone, { once: true });
    response.write(chunk, (error) => {
      closed.removeEventListener('abort', gone);
      resolve(error === undefined || error === null);
    });
  });
}
