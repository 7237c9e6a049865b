import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { OCI_MANIFEST } from '@shoal/oci';
import { afterEach, expect, test } from 'vitest';
import { sha256 } from '../access/fake-upstream.fixture.ts';
import { OriginError } from '../origin/origin-client.ts';
import { type FakeWorld, fakeWorld } from './fake-sources.fixture.ts';
import { ask } from './http-client.fixture.ts';
import { type Mirror, type MirrorOptions, startMirror } from './mirror.ts';

const running: Mirror[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((mirror) => mirror.close()));
});

async function start(options: Partial<MirrorOptions> = {}, world: FakeWorld = fakeWorld()) {
  const mirror = await startMirror({ host: '127.0.0.1', port: 0, closeGraceMs: 50, ...options }, world);
  running.push(mirror);
  const get = (path: string, headers: Record<string, string> = {}) => ask(mirror.address, path, { headers });
  const head = (path: string, headers: Record<string, string> = {}) =>
    ask(mirror.address, path, { method: 'HEAD', headers });
  return { ...world, world, mirror, get, head };
}

const layer = Buffer.from('a layer');
const config = Buffer.from('{"config":true}');
const image = Buffer.from(
  `{ "schemaVersion": 2,
     "config": { "digest": "${sha256(config)}", "size": ${config.length}, "mediaType": "x/config" },
     "layers": [ { "digest": "${sha256(layer)}", "size": ${layer.length}, "mediaType": "x/layer" } ] }`,
);
const codeOf = (body: Buffer) => JSON.parse(body.toString()).errors[0].code;

/** A world whose origin knows `ghcr.io/org/app:v1` as `image`, and whose pulls hold it with its blobs. */
function publishedWorld(): FakeWorld {
  const world = fakeWorld();
  const digest = world.pulls.add({ bytes: image });
  const resolved = { digest, mediaType: OCI_MANIFEST, sizeBytes: image.length };
  world.upstream.manifests.set('ghcr.io/org/app:v1', resolved);
  world.upstream.manifests.set(`ghcr.io/org/app@${digest}`, resolved);
  world.pulls.add({ bytes: layer });
  world.pulls.add({ bytes: config });
  return world;
}

test.each(['/v2/', '/v2'])('13: %s is 200 without any upstream call', async (path) => {
  const { get, head, upstream } = await start();
  const answer = await get(path);
  expect([answer.status, answer.headers['docker-distribution-api-version']]).toEqual([200, 'registry/2.0']);
  expect((await head(path)).status).toBe(200);
  expect(upstream.asked).toEqual([]);
});

test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])('40: %s is a 405 with Allow', async (method) => {
  const { mirror } = await start();
  for (const path of ['/v2/a/b/blobs/uploads/', '/v2/', '/elsewhere']) {
    const answer = await ask(mirror.address, path, { method, headers: { 'content-type': 'application/octet-stream' } });
    expect([answer.status, answer.headers.allow, codeOf(answer.body)]).toEqual([405, 'GET, HEAD', 'UNSUPPORTED']);
  }
});

test('40: malformed digests and names are a 400', async () => {
  const { get } = await start();
  for (const [path, code] of [
    ['/v2/a/b/blobs/sha256:xyz', 'DIGEST_INVALID'],
    ['/v2/A/b/manifests/v1', 'NAME_INVALID'],
    ['/v2/a/%zz/manifests/v1', 'NAME_INVALID'],
  ] as const) {
    const answer = await get(path);
    expect([answer.status, answer.headers['content-type'], codeOf(answer.body)]).toEqual([
      400,
      expect.stringContaining('application/json'),
      code,
    ]);
  }
});

test('27: an unknown path is an OCI error', async () => {
  const { get } = await start();
  for (const path of ['/', '/v2/_catalog', '/v3/a/manifests/b']) {
    const answer = await get(path);
    expect([answer.status, codeOf(answer.body)]).toEqual([404, 'UNSUPPORTED']);
  }
});

test('21: a registry that is not allowed is a 404 and never dialled', async () => {
  const { get, upstream } = await start();
  const answer = await get('/v2/a/b/manifests/v1?ns=forbidden.example');
  expect([answer.status, codeOf(answer.body)]).toEqual([404, 'NAME_UNKNOWN']);
  expect(upstream.asked).toEqual([]);
});

test('37: a request that has passed an agent is refused', async () => {
  const { get, upstream } = await start({}, publishedWorld());
  expect((await get('/v2/org/app/manifests/v1?ns=ghcr.io', { via: '1.1 proxy, 1.1 Shoal' })).status).toBe(508);
  expect(upstream.asked).toEqual([]);
  expect((await get('/v2/org/app/manifests/v1?ns=ghcr.io', { via: '1.1 shoal-of-fish' })).status).toBe(200);
});

test('38: OCI-Namespace is echoed', async () => {
  const { get } = await start({}, publishedWorld());
  expect((await get('/v2/org/app/manifests/v1', { 'oci-namespace': 'ghcr.io' })).headers['oci-namespace']).toBe(
    'ghcr.io',
  );
  expect((await get('/v2/org/app/manifests/v1?ns=GHCR.io')).headers['oci-namespace']).toBe('GHCR.io');
  expect((await get('/v2/ghcr.io/org/app/manifests/v1')).headers).not.toHaveProperty('oci-namespace');
});

test('36: an idle connection is kept for longer than 30 s', async () => {
  const { get } = await start();
  expect((await get('/v2/', { connection: 'keep-alive' })).headers['keep-alive']).toBe('timeout=75');
});

test('9: HEAD by tag gives true length, digest and type without reading the manifest', async () => {
  const { head, pulls } = await start({}, publishedWorld());
  const answer = await head('/v2/org/app/manifests/v1?ns=ghcr.io');
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    'content-length': String(image.length),
    'content-type': OCI_MANIFEST,
    'docker-content-digest': sha256(image),
  });
  expect(pulls.opened).toEqual([]);
});

test('9: HEAD by digest gives true length, digest and type', async () => {
  const { head } = await start({}, publishedWorld());
  const answer = await head(`/v2/org/app/manifests/${sha256(image)}?ns=ghcr.io`);
  expect(answer.headers).toMatchObject({
    'content-length': String(image.length),
    'content-type': OCI_MANIFEST,
    'docker-content-digest': sha256(image),
  });
});

test.each(['v1', sha256(image)])('10: GET manifests/%s gives the bytes unchanged', async (reference) => {
  const { get } = await start({}, publishedWorld());
  const answer = await get(`/v2/org/app/manifests/${reference}?ns=ghcr.io`);
  expect(answer.status).toBe(200);
  expect(answer.body).toEqual(image);
  expect(answer.headers['content-type']).toBe(OCI_MANIFEST);
  expect(answer.headers['docker-content-digest']).toBe(sha256(image));
});

test("10: the type is the origin's, by tag and by digest, also where the bytes say otherwise", async () => {
  const world = publishedWorld();
  const type = 'application/vnd.example+json';
  world.upstream.manifests.set('ghcr.io/org/app:v1', {
    digest: sha256(image),
    mediaType: type,
    sizeBytes: image.length,
  });
  const { get, pulls } = await start({}, world);
  for (const reference of ['v1', sha256(image)]) {
    expect((await get(`/v2/org/app/manifests/${reference}?ns=ghcr.io`)).headers['content-type']).toBe(type);
  }
  expect(pulls.opened.map(({ source }) => source.mediaType)).toEqual([type, type]);
});

test.each([
  ['bytes=0-', 0, image.length],
  ['bytes=5-9', 5, 10],
  ['bytes=-4', image.length - 4, image.length],
])('8: Range %s of a manifest is a 206', async (range, from, to) => {
  const { get } = await start({}, publishedWorld());
  const answer = await get('/v2/org/app/manifests/v1?ns=ghcr.io', { range });
  expect([answer.status, answer.headers['content-range']]).toEqual([206, `bytes ${from}-${to - 1}/${image.length}`]);
  expect(answer.body).toEqual(image.subarray(from, to));
});

test('3: the blobs of a served manifest are readable with the origin down, and are looked for at once', async () => {
  const world = publishedWorld();
  const { get, pulls } = await start({}, world);
  await get('/v2/org/app/manifests/v1?ns=ghcr.io');
  expect(pulls.expected).toEqual([sha256(config), sha256(layer)]);
  world.upstream.failure = new OriginError('unreachable', 'down');
  const answer = await get(`/v2/org/app/blobs/${sha256(layer)}?ns=ghcr.io`);
  expect([answer.status, answer.body]).toEqual([200, layer]);
});

test('31: the size in the manifest serves when upstream tells none', async () => {
  const world = publishedWorld();
  world.pulls.add({ bytes: layer, sizeUnknown: true });
  const { get, pulls } = await start({}, world);
  await get('/v2/org/app/manifests/v1?ns=ghcr.io');
  const answer = await get(`/v2/org/app/blobs/${sha256(layer)}?ns=ghcr.io`);
  expect(answer.headers['content-length']).toBe(String(layer.length));
  expect(pulls.opened.at(-1)?.source.sizeHintBytes).toBe(layer.length);
});

test('34: a manifest by digest comes from the cluster while the origin is down', async () => {
  const world = publishedWorld();
  const { get } = await start({}, world);
  await get('/v2/org/app/manifests/v1?ns=ghcr.io');
  world.upstream.failure = new OriginError('unavailable', 'down');
  expect((await get(`/v2/org/app/manifests/${sha256(image)}?ns=ghcr.io`)).body).toEqual(image);
  expect((await get('/v2/org/app/manifests/v1?ns=ghcr.io')).body).toEqual(image);
});

test('19: a blob of one repository is a 404 under another', async () => {
  const { get } = await start({}, publishedWorld());
  await get('/v2/org/app/manifests/v1?ns=ghcr.io');
  const answer = await get(`/v2/evil/app/blobs/${sha256(layer)}?ns=ghcr.io`);
  expect([answer.status, codeOf(answer.body)]).toEqual([404, 'BLOB_UNKNOWN']);
});

test.each(['unauthorized', 'not-found', 'refused', 'unavailable', 'unreachable', 'timeout', 'rate-limited'] as const)(
  '25: an origin that answers %s is a 404',
  async (code) => {
    const world = publishedWorld();
    world.upstream.failure = new OriginError(code, 'no');
    const { get } = await start({}, world);
    const manifest = await get('/v2/org/app/manifests/v1?ns=ghcr.io');
    const blob = await get(`/v2/org/app/blobs/${sha256(layer)}?ns=ghcr.io`);
    expect([manifest.status, codeOf(manifest.body)]).toEqual([404, 'MANIFEST_UNKNOWN']);
    expect([blob.status, codeOf(blob.body)]).toEqual([404, 'BLOB_UNKNOWN']);
  },
);

test("20: no challenge is ever sent, whatever the origin's", async () => {
  const world = publishedWorld();
  world.upstream.failure = new OriginError('unauthorized', 'no', { status: 401 });
  const { get } = await start({}, world);
  expect((await get('/v2/org/app/manifests/v1?ns=ghcr.io')).headers).not.toHaveProperty('www-authenticate');
});

test('26: an upstream 429 is logged, and its Retry-After kept', async () => {
  const world = publishedWorld();
  world.upstream.failure = new OriginError('rate-limited', 'slow down', { status: 429, retryAfterMs: 1500 });
  const { get, logged } = await start({}, world);
  expect((await get('/v2/org/app/manifests/v1?ns=ghcr.io')).headers['retry-after']).toBe('2');
  expect(logged.some((line) => line.includes('limits our rate'))).toBe(true);
});

test('a manifest larger than 4 MiB is not served', async () => {
  const world = publishedWorld();
  const digest = world.pulls.add({ bytes: Buffer.alloc(4 * 1024 * 1024 + 1) });
  world.upstream.manifests.set('ghcr.io/org/app:big', { digest, mediaType: OCI_MANIFEST, sizeBytes: 1 });
  const { get } = await start({}, world);
  expect((await get('/v2/org/app/manifests/big?ns=ghcr.io')).status).toBe(404);
  expect(world.pulls.readers).toBe(0);
});

test('a type that is none never becomes a header', async () => {
  const world = publishedWorld();
  const digest = sha256(image);
  world.upstream.manifests.set(`ghcr.io/org/app@${digest}`, { digest, mediaType: 'a/b\r\nx: y', sizeBytes: 1 });
  const { get } = await start({}, world);
  expect((await get(`/v2/org/app/manifests/${digest}?ns=ghcr.io`)).headers['content-type']).toBe(OCI_MANIFEST);
});

test('39: tags/list is passed through with Link rewritten to this mirror', async () => {
  const { get, world } = await start();
  world.relayAnswer = {
    status: 200,
    headers: {
      'content-type': 'application/json',
      link: '</v2/library/alpine/tags/list?last=b&n=2>; rel="next"',
      'set-cookie': 'no',
    },
    body: Buffer.from('{"tags":["a","b"]}'),
  };
  const answer = await get('/v2/alpine/tags/list?n=2&ns=docker.io', { accept: 'application/json' });
  expect(answer.body.toString()).toBe('{"tags":["a","b"]}');
  expect(answer.headers.link).toBe('</v2/alpine/tags/list?last=b&n=2&ns=docker.io>; rel="next"');
  expect(answer.headers).not.toHaveProperty('set-cookie');
  expect(world.relayed).toEqual([{ path: 'tags/list?n=2', accept: 'application/json' }]);
});

test('39: referrers are passed through, and any refusal is a 404', async () => {
  const { get, world } = await start();
  const path = `/v2/ghcr.io/org/app/referrers/${sha256('x')}?artifactType=a`;
  expect((await get(path)).status).toBe(200);
  expect(world.relayed[0]?.path).toBe(`referrers/${sha256('x')}?artifactType=a`);
  world.relayAnswer.status = 401;
  expect((await get(path)).status).toBe(404);
});

test("the client's request id follows the pull", async () => {
  const { get, pulls } = await start({}, publishedWorld());
  const path = '/v2/org/app/manifests/v1?ns=ghcr.io';
  expect((await get(path, { 'x-request-id': 'abc-1' })).headers['x-request-id']).toBe('abc-1');
  expect(pulls.opened.at(-1)?.source.pullId).toBe('abc-1');
  const other = (await get(path, { 'x-request-id': 'not plain!' })).headers['x-request-id'];
  expect(other).toMatch(/^[0-9a-f]{12}$/);
  expect(pulls.opened.at(-1)?.source.pullId).toBe(other);
});

test('a descriptor that is no socket is refused', async () => {
  const file = await open('/dev/null');
  await expect(start({ fd: file.fd })).rejects.toMatchObject({ code: 'EINVAL' });
  await file.close();
});

test('close cuts a download that outlives the grace', async () => {
  const world = publishedWorld();
  const digest = world.pulls.add({ bytes: Buffer.from('never'), firstByte: new Promise(() => {}) });
  world.upstream.blobs.set(`ghcr.io/org/app@${digest}`, 5);
  const { get, mirror } = await start({ answerDeadlineMs: 20 }, world);
  const download = get(`/v2/org/app/blobs/${digest}?ns=ghcr.io`);
  await expect.poll(() => world.pulls.readers).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await mirror.close();
  expect((await download).complete).toBe(false);
  expect(world.pulls.readers).toBe(0);
});

test('while it closes, a body under way is sent whole, and what comes behind it on its connection goes upstream', async () => {
  const world = publishedWorld();
  const { promise: firstByte, resolve } = Promise.withResolvers<void>();
  const bytes = Buffer.from('late');
  const digest = world.pulls.add({ bytes, firstByte });
  world.upstream.blobs.set(`ghcr.io/org/app@${digest}`, bytes.length);
  const { get, mirror } = await start({ answerDeadlineMs: 20 }, world);
  const socket = connect(Number(mirror.address.split(':').at(-1)), '127.0.0.1');
  let said = '';
  socket.setEncoding('latin1').on('data', (text) => {
    said += text;
  });
  socket.write(`GET /v2/org/app/blobs/${digest}?ns=ghcr.io HTTP/1.1\r\nHost: a\r\n\r\n`);
  await expect.poll(() => world.pulls.readers).toBe(1);
  const closed = mirror.close(5_000);
  await expect(get('/v2/')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(mirror.open).toBe(1);
  socket.write('GET /v2/org/app/manifests/v1?ns=ghcr.io HTTP/1.1\r\nHost: a\r\n\r\n');
  await new Promise((done) => setTimeout(done, 50));
  resolve();
  await new Promise((done) => socket.once('close', done));
  expect(said).toMatch(/^HTTP\/1\.1 200 [\s\S]*late/);
  expect(said).toMatch(/lateHTTP\/1\.1 404 [\s\S]*connection: close[\s\S]*this agent is stopping/);
  expect(await closed).toBe(0);
});
