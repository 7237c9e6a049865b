/**
 * Sends a body to a client that may be slow, may stop reading, or may go away.
 *
 * Once the head is out there is no way to say that something failed but to close short of what was promised. Every
 * client takes a FIN short of Content-Length, or a chunked body without its last chunk, for an interrupted download
 * and resumes or goes upstream; containerd fails the whole pull on a RST. So what was written is flushed, the
 * connection is closed in order, and `end()` is called only when the body is complete.
 */
import type { ServerResponse } from 'node:http';
import type { BodyStream } from './answer.ts';

/** Writes are cut to this size, so that the stall deadline sees a slow client's progress. */
const WRITE_BYTES: number = 256 * 1024;
/** How long a client may keep its side open after the mirror has closed short. */
const LINGER_MS = 5_000;

export type StreamOutcome =
  | { kind: 'complete' }
  | { kind: 'client-gone' }
  /** The client did not take a byte for the whole stall deadline. */
  | { kind: 'client-stalled' }
  | { kind: 'cut-short'; error: unknown };

export interface StreamOptions {
  stallMs: number;
  /** Before the first `onBytes`. */
  onFirstByte?: () => void;
  onBytes: (count: number) => void;
}

/** The head is set on `response` but not sent. `body` is not closed here. Never throws. */
export async function streamBody(
  response: ServerResponse,
  body: BodyStream,
  options: StreamOptions,
): Promise<StreamOutcome> {
  let sentBytes = 0;
  try {
    response.flushHeaders();
    for await (const chunk of body.chunks) {
      for (let from = 0; from < chunk.length; from += WRITE_BYTES) {
        const part = chunk.subarray(from, from + WRITE_BYTES);
        if (sentBytes + part.length > (body.lengthBytes ?? Infinity)) {
          throw new Error('more bytes than the blob has');
        }
        const state = await write(response, part, options.stallMs);
        if (state !== 'open') {
          if (state === 'client-stalled') response.destroy();
          return { kind: state };
        }
        if (sentBytes === 0) options.onFirstByte?.();
        sentBytes += part.length;
        options.onBytes(part.length);
      }
    }
    if (body.lengthBytes !== undefined && sentBytes < body.lengthBytes)
      throw new Error('fewer bytes than the blob has');
  } catch (error) {
    if (isGone(response)) return { kind: 'client-gone' };
    closeShort(response);
    return { kind: 'cut-short', error };
  }
  if (isGone(response)) return { kind: 'client-gone' };
  response.end();
  return { kind: 'complete' };
}

/** Flushes what was written and ends the connection with a FIN. */
export function closeShort(response: ServerResponse): void {
  const { socket } = response;
  if (socket === null) {
    response.destroy();
    return;
  }
  // Half-closed first: a socket destroyed while unread bytes wait in it would answer with a RST.
  socket.end();
  const timer = setTimeout(() => socket.destroySoon(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

/** Resolves when the kernel has the bytes: their memory is used again. */
async function write(
  response: ServerResponse,
  part: Uint8Array,
  stallMs: number,
): Promise<'open' | 'client-gone' | 'client-stalled'> {
  if (isGone(response)) return 'client-gone';
  const { promise, resolve } = Promise.withResolvers<'open' | 'client-gone' | 'client-stalled'>();
  response.write(part, () => resolve('open'));
  const onClose = () => resolve('client-gone');
  const timer = setTimeout(() => resolve('client-stalled'), stallMs);
  response.once('close', onClose);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    response.off('close', onClose);
  }
}

function isGone(response: ServerResponse): boolean {
  return response.destroyed || response.socket?.destroyed === true;
}
