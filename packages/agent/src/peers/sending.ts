/**
 * Sends bulk bytes over a libp2p stream at the pace of its reader, and no faster than this agent's own limits allow.
 * `stream.onDrain()` is not used: its promise is never reset, so from the second wait on it resolves while the stream is
 * still full.
 */
import type { Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';
import { type RateLane, takeAll } from '../rate/rate-limit.ts';

/** Small sends cost: each makes its own encrypted frames. */
export const CHUNK_BYTES: number = 256 * 1024;

export interface SendingOptions {
  /** How long the reader may take nothing. */
  stallMs: number;
  /** Sent at once. @default 256 KiB */
  chunkBytes?: number;
  /** Asked for each chunk, the narrowest first. @default none */
  lanes?: readonly RateLane[];
  /** Ends the wait for a lane. */
  signal?: AbortSignal;
}

const NO_LANES: readonly RateLane[] = [];

/**
 * Sends `head` and then `bytes`, and resolves when the stream has taken the last of them over. `bytes` must stay as
 * they are until then and may be in flight even after.
 * @throws Error when the stream closes, or stalls (then it still has to be aborted); the signal's reason
 */
export async function sendPaced(
  stream: Stream,
  head: Uint8Array,
  bytes: Uint8Array,
  options: SendingOptions,
): Promise<void> {
  const { stallMs, chunkBytes = CHUNK_BYTES, lanes = NO_LANES, signal } = options;
  for (let offset = 0; ; offset += chunkBytes) {
    const end = Math.min(offset + chunkBytes, bytes.length);
    if (lanes.length > 0) await takeAll(lanes, end - offset, signal);
    const chunk = bytes.subarray(offset, end);
    stream.send(offset === 0 ? new Uint8ArrayList(head, chunk) : chunk);
    await flushed(stream, stallMs);
    if (end === bytes.length) return;
  }
}

/** Waits until nothing is queued in the stream and it takes more. */
function flushed(stream: Stream, stallMs: number): Promise<void> {
  const ready = () => !stream.writableNeedsDrain && stream.writeBufferLength === 0;
  if (ready()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(new Error(`stream took nothing for ${stallMs} ms`)), stallMs);
    let queuedBytes = stream.writeBufferLength;
    const onChange = () => {
      if (stream.writeBufferLength < queuedBytes) timer.refresh();
      queuedBytes = stream.writeBufferLength;
      if (ready()) finish();
    };
    // The stream's own listener for `drain` came first and sends the rest in a microtask; `idle` reports its end, from
    // inside the send: a look a microtask later sees the final state of both.
    const onLater = () => queueMicrotask(() => queueMicrotask(onChange));
    const onClose = () => finish(new Error('stream closed'));
    const finish = (error?: Error) => {
      clearTimeout(timer);
      stream.removeEventListener('drain', onLater);
      stream.removeEventListener('idle', onLater);
      stream.removeEventListener('close', onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    stream.addEventListener('drain', onLater);
    stream.addEventListener('idle', onLater);
    stream.addEventListener('close', onClose);
    if (stream.status !== 'open') finish(new Error('stream closed'));
  });
}
