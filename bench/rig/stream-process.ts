/**
 * One end of a plain TCP stream, to learn what a link carries: `stream-process serve ADDRESS PORT` sends to whoever
 * connects, without end; `stream-process read ADDRESS PORT` tells how much per second it got.
 */
import { connect, createServer } from 'node:net';
import { endWithRig, tell, tellFailure } from './messages.ts';

/** Until the shapers' buckets are empty and the sender has found the rate. */
const WARM_UP_MS = 1_000;
const MEASURED_MS = 2_500;
const CHUNK_BYTES = 64 * 1024;

export interface StreamRate {
  readonly type: 'rate';
  readonly bytesPerSecond: number;
}

function serve(address: string, port: number): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const server = createServer((socket) => {
    const fill = (): void => {
      while (socket.write(chunk));
    };
    // The reader leaves in the middle.
    socket.on('error', () => socket.destroy());
    socket.on('drain', fill);
    fill();
  });
  server.on('error', tellFailure);
  server.listen(port, address, () => tell({ type: 'ready' }));
}

function read(address: string, port: number): void {
  const socket = connect(port, address);
  let bytes = 0;
  let startedMs = 0;
  socket.on('error', tellFailure);
  socket.on('data', (chunk) => {
    bytes += chunk.length;
  });
  setTimeout(() => {
    bytes = 0;
    startedMs = performance.now();
  }, WARM_UP_MS);
  setTimeout(() => {
    socket.destroy();
    tell<StreamRate>({ type: 'rate', bytesPerSecond: (bytes * 1_000) / (performance.now() - startedMs) });
  }, WARM_UP_MS + MEASURED_MS);
}

endWithRig();
const [role, address, port] = process.argv.slice(2) as [string, string, string];
(role === 'serve' ? serve : read)(address, Number(port));
