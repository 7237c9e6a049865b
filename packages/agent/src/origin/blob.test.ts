import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '@shoal/oci';
import { expect, onTestFinished, test } from 'vitest';
import { call, clientFor, collect, REPOSITORY, serve } from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
const CONTENT = Buffer.from('0123456789');

/** A server that says exactly these bytes to every connection's first request. */
async function rawServer(speak: (socket: Socket) => void): Promise<{ url: string }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => speak(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function open(server: { url: string }, range: { offset: number; end?: number } = { offset: 0 }) {
  const client = clientFor(server, { deadlines: { dialMs: 1000, headersMs: 300, stallMs: 200 } });
  return client.blob(REPOSITORY, DIGEST, range, call());
}

async function readAll(server: { url: string }, range?: { offset: number; end?: number }): Promise<string> {
  return (await collect((await open(server, range)).chunks)).toString();
}

test('a whole blob is asked for without Range, and without encoding', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).end(CONTENT));
  const body = await open(server);
  expect(body).toMatchObject({ offset: 0, sizeBytes: 10 });
  expect((await collect(body.chunks)).toString()).toBe('0123456789');
  expect(server.requests[0]?.url).toBe(`/v2/team/app/blobs/${DIGEST}`);
  const { headers } = server.requests[0]!;
  expect(headers).toMatchObject({
    'accept-encoding': 'identity',
    'user-agent': 'shoal/dev',
    via: '1.1 shoal',
    'x-request-id': 'pull-1',
  });
  expect(headers.range).toBeUndefined();
});

test.each([
  [{ offset: 4 }, 'bytes=4-', 'bytes 4-9/10', '456789'],
  [{ offset: 4, end: 6 }, 'bytes=4-5', 'bytes 4-5/10', '45'],
  [{ offset: 0, end: 3 }, 'bytes=0-2', 'bytes 0-2/10', '012'],
  [{ offset: 8, end: 30 }, 'bytes=8-29', 'bytes 8-9/10', '89'],
] as const)('the range %o is asked for as %s', async (range, asked, served, text) => {
  const server = await serve((_, response) => response.writeHead(206, { 'content-range': served }).end(text));
  const body = await open(server, range);
  expect(body).toMatchObject({ offset: range.offset, ranged: true, sizeBytes: 10 });
  expect((await collect(body.chunks)).toString()).toBe(text);
  expect(server.requests[0]?.headers.range).toBe(asked);
});

test('a 206 of unknown total is taken', async () => {
  const server = await serve((_, response) => response.writeHead(206, { 'content-range': 'bytes 4-5/*' }).end('45'));
  expect(await open(server, { offset: 4, end: 6 })).toMatchObject({ offset: 4, sizeBytes: undefined });
});

test('a registry that ignores Range gives the blob from its start', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).end(CONTENT));
  const body = await open(server, { offset: 4, end: 6 });
  expect(body).toMatchObject({ offset: 0, ranged: false, sizeBytes: 10 });
  expect((await collect(body.chunks)).toString()).toBe('0123456789');
});

test('without Content-Length the size is unknown', async () => {
  const server = await serve((_, response) => {
    response.write('01234');
    response.end('56789');
  });
  const body = await open(server);
  expect(body.sizeBytes).toBeUndefined();
  expect((await collect(body.chunks)).toString()).toBe('0123456789');
});

test.each([
  ['another start', 'bytes 5-6/10', '56'],
  ['more than was asked', 'bytes 4-9/10', '456789'],
  ['no Content-Range', undefined, '45'],
  ['a length that does not fit', 'bytes 4-5/10', '456'],
])('a 206 with %s is invalid', async (_, contentRange, text) => {
  const server = await serve((_request, response) => {
    const headers = contentRange === undefined ? {} : { 'content-range': contentRange };
    response.writeHead(206, { ...headers, 'content-length': text.length }).end(text);
  });
  await expect(open(server, { offset: 4, end: 6 })).rejects.toMatchObject({ code: 'invalid' });
});

test('a 206 that nobody asked for is invalid', async () => {
  const server = await serve((_, response) =>
    response.writeHead(206, { 'content-range': 'bytes 0-9/10' }).end(CONTENT),
  );
  await expect(open(server)).rejects.toMatchObject({ code: 'invalid' });
});

test('an encoded body is invalid', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(CONTENT));
  await expect(open(server)).rejects.toMatchObject({ code: 'invalid' });
});

test.each([
  [400, 'refused'],
  [401, 'unauthorized'],
  [403, 'unauthorized'],
  [404, 'not-found'],
  [416, 'invalid'],
  [429, 'rate-limited'],
  [500, 'unavailable'],
  [503, 'unavailable'],
  [304, 'invalid'],
])('status %i is %s, and asked once', async (status, code) => {
  const server = await serve((_, response) => response.writeHead(status).end());
  await expect(open(server)).rejects.toMatchObject({ code, status });
  expect(server.log).toHaveLength(1);
});

test('Retry-After is kept, in seconds or as a date', async () => {
  const answers = ['12', new Date(60_000).toUTCString()];
  const server = await serve((_, response) => response.writeHead(429, { 'retry-after': answers.shift() }).end());
  const client = clientFor(server, {}, { clock: () => 15_000 });
  const ask = () => client.blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  await expect(ask()).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 12_000 });
  await expect(ask()).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 45_000 });
});

test('a body that ends early is cut short', async () => {
  const server = await rawServer((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234'));
  await expect(readAll(server)).rejects.toMatchObject({ code: 'cut-short', temporary: true });
});

test('a closing connection that ends early is cut short', async () => {
  const server = await rawServer((socket) =>
    socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234'),
  );
  await expect(readAll(server)).rejects.toMatchObject({ code: 'cut-short' });
});

test.each(['keep-alive', 'close'])('a chunked body without its last chunk is cut short (%s)', async (connection) => {
  const server = await rawServer((socket) =>
    socket.end(`HTTP/1.1 200 OK\r\nConnection: ${connection}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n`),
  );
  await expect(readAll(server)).rejects.toMatchObject({ code: 'cut-short' });
});

test('a 206 shorter than was asked for ends cut short, after its bytes', async () => {
  const server = await serve((_, response) => response.writeHead(206, { 'content-range': 'bytes 4-5/10' }).end('45'));
  const body = await open(server, { offset: 4 });
  const received: string[] = [];
  const reading = (async () => {
    for await (const chunk of body.chunks) received.push(Buffer.from(chunk).toString());
  })();
  await expect(reading).rejects.toMatchObject({ code: 'cut-short' });
  expect(received.join('')).toBe('45');
});

test('a chunked 206 longer than its range is invalid', async () => {
  const server = await serve((_, response) => {
    response.writeHead(206, { 'content-range': 'bytes 4-5/10' });
    response.write('45');
    response.end('6');
  });
  await expect(readAll(server, { offset: 4, end: 6 })).rejects.toMatchObject({ code: 'invalid' });
});

test('a reset in the body is unreachable', async () => {
  const server = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234', () =>
      setTimeout(() => socket.resetAndDestroy(), 50),
    );
  });
  await expect(readAll(server)).rejects.toMatchObject({ code: 'unreachable' });
});

test('a reset before the headers is unreachable', async () => {
  const server = await rawServer((socket) => socket.resetAndDestroy());
  await expect(open(server)).rejects.toMatchObject({ code: 'unreachable' });
});

test('an answer that is not HTTP is invalid', async () => {
  const server = await rawServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n'));
  await expect(open(server)).rejects.toMatchObject({ code: 'invalid' });
});

test('a port where nobody listens is unreachable', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  await expect(open({ url: `http://127.0.0.1:${port}` })).rejects.toMatchObject({ code: 'unreachable' });
});

test('headers that do not come are a timeout', async () => {
  const server = await serve(() => {});
  await expect(open(server)).rejects.toMatchObject({ code: 'timeout' });
});

test('a handshake that does not end is a dial timeout', async () => {
  const server = await rawServer(() => {});
  const client = clientFor({ url: server.url.replace('http:', 'https:') }, { deadlines: { dialMs: 100 } });
  await expect(client.blob(REPOSITORY, DIGEST, { offset: 0 }, call())).rejects.toMatchObject({
    code: 'timeout',
    message: expect.stringContaining('100 ms'),
  });
});

test('a first byte that does not come is a timeout', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).flushHeaders());
  await expect(readAll(server)).rejects.toMatchObject({ code: 'timeout' });
});

test('a stall inside the body is a timeout, after the bytes that came', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).write('01234'));
  const body = await open(server);
  const received: string[] = [];
  const reading = (async () => {
    for await (const chunk of body.chunks) received.push(Buffer.from(chunk).toString());
  })();
  await expect(reading).rejects.toMatchObject({ code: 'timeout' });
  expect(received.join('')).toBe('01234');
});

test('a slow reader is not a stall', async () => {
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('01234');
    setTimeout(() => response.end('56789'), 50);
  });
  const body = await open(server);
  const received: string[] = [];
  for await (const chunk of body.chunks) {
    received.push(Buffer.from(chunk).toString());
    await sleep(300);
  }
  expect(received.join('')).toBe('0123456789');
});

test('a reader that does not read holds the sender back', async () => {
  let sentBytes = 0;
  const totalBytes = 64 * 1024 * 1024;
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': totalBytes });
    const block = Buffer.alloc(64 * 1024);
    const send = (): void => {
      if (sentBytes >= totalBytes) {
        response.end();
        return;
      }
      response.write(block, (error) => {
        if (error) return;
        sentBytes += block.length;
        send();
      });
    };
    send();
  });
  const body = await open(server);
  for await (const _ of body.chunks) {
    await sleep(200);
    break;
  }
  expect(sentBytes).toBeLessThan(totalBytes / 2);
});

test('close stops a body that is being read, and may be called again', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).write('01234'));
  const closed = Promise.withResolvers<void>();
  const body = await open(server);
  server.requests[0]?.socket.on('close', () => closed.resolve());
  const reading = collect(body.chunks);
  body.close();
  body.close();
  await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
  await closed.promise;
});

test('the signal stops a request and a body', async () => {
  const silent = await serve(() => {});
  const abort = new AbortController();
  const pending = clientFor(silent).blob(REPOSITORY, DIGEST, { offset: 0 }, call(abort.signal));
  abort.abort();
  await expect(pending).rejects.toMatchObject({ code: 'cancelled' });

  const slow = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).write('01234'));
  const later = new AbortController();
  const body = await clientFor(slow).blob(REPOSITORY, DIGEST, { offset: 0 }, call(later.signal));
  const reading = collect(body.chunks);
  later.abort();
  await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
});

test('bytes and requests are reported', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).end(CONTENT));
  const reported: unknown[] = [];
  const client = clientFor(
    server,
    {},
    {
      onBytes: (registry, sizeBytes) => reported.push([registry, sizeBytes]),
      onRequest: (registry, kind, status) => reported.push([registry, kind, status]),
    },
  );
  await collect((await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call())).chunks);
  expect(reported).toEqual([
    [REPOSITORY.registry, 'blob', 200],
    [REPOSITORY.registry, 10],
  ]);
});

test('a finished body leaves its connection to the next request', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).end(CONTENT));
  const client = clientFor(server);
  for (let i = 0; i < 6; i++) await collect((await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call())).chunks);
  expect(new Set(server.requests.map(({ socket }) => socket.remotePort)).size).toBeLessThan(3);
});

test('requests beyond the connection limit wait for a connection', async () => {
  let open = 0;
  let most = 0;
  const server = await serve((_, response) => {
    most = Math.max(most, ++open);
    setTimeout(() => {
      open--;
      response.writeHead(200, { 'content-length': 10 }).end(CONTENT);
    }, 30);
  });
  const client = clientFor(server, { maxConnectionsPerRegistry: 2 });
  const read = async () => collect((await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call())).chunks);
  await Promise.all(Array.from({ length: 6 }, read));
  expect(most).toBe(2);
});

test('blobs that hold all their connections do not hold up a manifest', async () => {
  const server = await serve((request, response) => {
    if (request.url?.includes('/manifests/') === true) response.end('{}');
    else response.writeHead(200, { 'content-length': 10 }).write('01234');
  });
  const client = clientFor(server, { maxConnectionsPerRegistry: 1 });
  const held = await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await client.manifest(REPOSITORY, 'v1', '', call())).sizeBytes).toBe(2);
  held.close();
});
