/**
 * Sends bulk bytes over a libp2p stream at the pace of its reader. `stream.onDrain()` is not used: its promise is never
 * reset, so from the second wait on it resolves while the stream is still full.
 */
import type { Stream } from '@libp2p/interface';
import { Uint8ArrayList } from 'uint8arraylist';

/** Small sends cost: each makes its own encrypted frames. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Sends `head` and then `bytes`, and resolves when the stream has taken the last of them over. `bytes` must stay as
 * they are until then and may be in flight even after.
 * @param stallMs how long the reader may take nothing
 * @throws Error when the stream closes, or stalls (then it still has to be aborted)
 */
export async function sendPaced(stream: Stream, head: Uint8Array, bytes: Uint8Array, stallMs: number): Promise<void> {
  let offset = Math.min(CHUNK_BYTES, bytes.length);
  stream.send(new Uint8ArrayList(head, bytes.subarray(0, offset)));
  await flushed(stream, stallMs);
  while (offset < bytes.length) {
    const end = Math.min(offset + CHUNK_BYTES, bytes.length);
    stream.send(bytes.subarray(offset, end));
    offset = end;
    await flushed(stream, stallMs);
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
