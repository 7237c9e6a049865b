import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import { PullError } from '../pull/pull-error.ts';
import { type FakeBlob, fakeWorld, OpenAccess } from './fake-sources.fixture.ts';
import { ask, talkRaw } from './http-client.fixture.ts';
import { type Mirror, type MirrorOptions, startMirror } from './mirror.ts';

const running: Mirror[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((mirror) => mirror.close()));
});

const content = randomBytes(200_000);

/** A mirror with one blob; `known` tells access its size, as a manifest would have. */
async function start(
  { known = true, ...blob }: Partial<FakeBlob> & { known?: boolean } = {},
  options: Partial<MirrorOptions> = {},
) {
  const access = new OpenAccess();
  const world = fakeWorld(access);
  const bytes = blob.bytes ?? content;
  const digest = world.pulls.add({ bytes, ...blob });
  if (known) access.sizes.set(digest, bytes.length);
  const mirror = await startMirror({ host: '127.0.0.1', port: 0, closeGraceMs: 50, ...options }, world);
  running.push(mirror);
  const path = `/v2/org/app/blobs/${digest}?ns=ghcr.io`;
  const get = (headers: Record<string, string> = {}) => ask(mirror.address, path, { headers });
  const head = () => ask(mirror.address, path, { method: 'HEAD' });
  return { ...world, world, mirror, digest, path, get, head };
}

test('a whole blob is a 200 with length, digest and type', async () => {
  const { get, digest, world } = await start();
  const answer = await get();
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    'content-length': '200000',
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    'docker-distribution-api-version': 'registry/2.0',
    'oci-namespace': 'ghcr.io',
  });
  expect(answer.body).toEqual(content);
  expect(world.bytesToClient).toBe(200_000);
  await expect.poll(() => [world.results, world.pulls.readers]).toEqual([['ok'], 0]);
});

test('29: nothing is encoded, whatever the client accepts', async () => {
  const { get } = await start();
  const answer = await get({ 'accept-encoding': 'zstd, gzip, deflate' });
  expect(answer.headers).not.toHaveProperty('content-encoding');
  expect(answer.body).toEqual(content);
});

test.each([true, false])('9: HEAD gives the true length (size known before: %s)', async (known) => {
  const { head, digest, pulls } = await start({ known });
  const answer = await head();
  expect([answer.status, answer.headers['content-length'], answer.headers['docker-content-digest']]).toEqual([
    200,
    '200000',
    digest,
  ]);
  expect(pulls.readers).toBe(0);
});

const ranges = [
  ['N-', 'bytes=500-', 500, 200_000],
  ['0-', 'bytes=0-', 0, 200_000],
  ['A-B', 'bytes=500-1499', 500, 1500],
  ['A-B beyond the end', 'bytes=199000-300000', 199_000, 200_000],
  ['-N', 'bytes=-500', 199_500, 200_000],
  ['-N longer than the blob', 'bytes=-300000', 0, 200_000],
] as const;

for (const known of [true, false]) {
  test.each(ranges)(`6: answers %s with an exact 206 (size known before: ${known})`, async (_, range, from, to) => {
    const { get } = await start({ known });
    const answer = await get({ range });
    expect([answer.status, answer.headers['content-range'], answer.headers['content-length']]).toEqual([
      206,
      `bytes ${from}-${to - 1}/200000`,
      String(to - from),
    ]);
    expect(answer.body).toEqual(content.subarray(from, to));
  });

  test.each(['bytes=500-0', 'bytes=200000-', 'bytes=500000-600000', 'bytes=-0'])(
    `28: answers %s with a 416 (size known before: ${known})`,
    async (range) => {
      const { get, pulls } = await start({ known });
      const answer = await get({ range });
      expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */200000']);
      expect(pulls.readers).toBe(0);
    },
  );
}

test('6: reading starts where the range does', async () => {
  const { get, pulls } = await start();
  await get({ range: 'bytes=-500' });
  expect(pulls.opened.map(({ start }) => start)).toEqual([199_500]);
});

test.each(['bytes=0-1,5-6', 'bytes=x', 'items=0-1'])('answers %s with the whole blob', async (range) => {
  const { get } = await start();
  const answer = await get({ range });
  expect([answer.status, answer.body.length]).toEqual([200, 200_000]);
});

test('a range of another version (If-Range) gets the whole blob', async () => {
  const { get, digest } = await start();
  expect((await get({ range: 'bytes=1-', 'if-range': '"other"' })).status).toBe(200);
  expect((await get({ range: 'bytes=1-', 'if-range': `"${digest}"` })).status).toBe(206);
});

test('an empty blob is a 200, also to bytes=0-', async () => {
  const { get } = await start({ bytes: Buffer.alloc(0) });
  const answer = await get({ range: 'bytes=0-' });
  expect([answer.status, answer.headers['content-length'], answer.complete]).toEqual([200, '0', true]);
});

test('a blob of unknown size goes out whole in chunks', async () => {
  const { get } = await start({ known: false, sizeUnknown: true });
  const answer = await get({ range: 'bytes=500-' });
  expect([answer.status, answer.headers['transfer-encoding'], answer.complete]).toEqual([200, 'chunked', true]);
  expect(answer.body).toEqual(content);
});

test('25: a pull that fails at once is a 404', async () => {
  const { get, pulls } = await start();
  pulls.failure = new OriginError('rate-limited', 'no', { retryAfterMs: 60_000 });
  const answer = await get();
  expect([answer.status, answer.headers['retry-after']]).toEqual([404, '60']);
  expect(JSON.parse(answer.body.toString()).errors[0].code).toBe('BLOB_UNKNOWN');
});

test('26: a pull that failed because of an upstream 429 keeps its Retry-After', async () => {
  const { get, pulls } = await start();
  const cause = new OriginError('rate-limited', 'no', { retryAfterMs: 5_000 });
  pulls.failure = new PullError('origin-refused', 'nobody else has it', { cause });
  expect((await get()).headers['retry-after']).toBe('5');
});

test('2: a source that fails before its first byte is still a 404', async () => {
  const { get, pulls } = await start({ failsAfterBytes: 0 });
  expect((await get()).status).toBe(404);
  expect(pulls.readers).toBe(0);
});

test('2: a pull that does not open in time is a 404', async () => {
  const { get, pulls } = await start({}, { answerDeadlineMs: 30 });
  pulls.neverOpens = true;
  expect((await get()).status).toBe(404);
});

test('2: the head goes out in time when the source is only slow', async () => {
  const firstByte = Promise.withResolvers<void>();
  const { get, pulls } = await start({ firstByte: firstByte.promise }, { answerDeadlineMs: 30 });
  setTimeout(() => firstByte.resolve(), 120);
  const answer = await get();
  expect([answer.status, answer.body.equals(content), pulls.aborted]).toEqual([200, true, []]);
});

test('5: a body that cannot go on ends with a FIN, short of Content-Length, after all that was read', async () => {
  const { mirror, path, world } = await start({ failsAfterBytes: 128 * 1024 });
  const { received, error } = await talkRaw(mirror.address, `GET ${path} HTTP/1.1\r\nHost: m\r\n\r\n`);
  const body = received.subarray(received.indexOf('\r\n\r\n') + 4);
  expect(received.toString('latin1')).toContain('content-length: 200000');
  expect(body).toEqual(content.subarray(0, 128 * 1024));
  expect(error).toBeUndefined();
  expect(world.results).toEqual(['cut-short']);
});

test('5: a chunked body that cannot go on lacks its last chunk', async () => {
  const { mirror, path } = await start({ known: false, sizeUnknown: true, failsAfterBytes: 64 * 1024 });
  const { received, error } = await talkRaw(mirror.address, `GET ${path} HTTP/1.1\r\nHost: m\r\n\r\n`);
  expect(received.length).toBeGreaterThan(64 * 1024);
  expect(received.toString('latin1').endsWith('0\r\n\r\n')).toBe(false);
  expect(error).toBeUndefined();
});

test('5: a source that ends early is never passed off as complete', async () => {
  const access = new OpenAccess();
  const world = fakeWorld(access);
  const digest = world.pulls.add({ bytes: content });
  const open = world.pulls.open.bind(world.pulls);
  world.pulls.open = async (...call) => ({ ...(await open(...call)), sizeBytes: 200_001 });
  const mirror = await startMirror({ host: '127.0.0.1', port: 0, closeGraceMs: 50 }, world);
  running.push(mirror);
  const answer = await ask(mirror.address, `/v2/org/app/blobs/${digest}`);
  expect([answer.status, answer.complete]).toEqual([200, false]);
});

test('a connection whose body is complete serves the next request', async () => {
  const { mirror, path } = await start();
  const get = `GET ${path} HTTP/1.1\r\nHost: m\r\n`;
  const { received } = await talkRaw(mirror.address, `${get}\r\n${get}Connection: close\r\n\r\n`);
  expect(received.length).toBeGreaterThan(400_000);
});

test('24: a client that goes away cancels the pull and is logged at debug only', async () => {
  const { mirror, path, world, logged } = await start({ firstByte: new Promise(() => {}) }, { answerDeadlineMs: 20 });
  const [host, port] = mirror.address.split(':');
  const socket = connect(Number(port), host);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: m\r\n\r\n`);
  await once(socket, 'data');
  socket.destroy();
  await expect.poll(() => world.results).toEqual(['client-gone']);
  expect(world.pulls.aborted).toHaveLength(1);
  expect(world.pulls.readers).toBe(0);
  expect(logged.every((line) => JSON.parse(line).level <= 20)).toBe(true);
});

test('a client that stops reading is cut off, and the rest is never read', async () => {
  const bytes = Buffer.alloc(64 * 1024 * 1024);
  const { mirror, path, world } = await start({ bytes }, { clientStallMs: 50 });
  const [host, port] = mirror.address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: m\r\n\r\n`);
  await expect.poll(() => world.results, { timeout: 5_000 }).toEqual(['client-stalled']);
  expect(world.bytesToClient).toBeLessThan(bytes.length / 2);
  expect(world.pulls.readers).toBe(0);
  socket.destroy();
});

test('7: every range of a blob that got a 206 once gets one again', async () => {
  const { get } = await start({ known: false });
  for (const range of ['bytes=0-', 'bytes=65536-', 'bytes=131072-']) expect((await get({ range })).status).toBe(206);
});
