import { createHash } from 'node:crypto';
import { manifestChildren } from '@shoal/oci';
import { expect, onTestFinished, test } from 'vitest';
import { FaultOrigin, type FaultOriginOptions, syntheticContent } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';

const layerBytes = 3_000_001;

async function serving(options?: FaultOriginOptions): Promise<{ origin: FaultOrigin; image: ImageFixture }> {
  const origin = await FaultOrigin.start(options);
  onTestFinished(() => origin.down());
  const image = await buildImage({ layers: [layerBytes] });
  origin.add(image);
  return { origin, image };
}

function blobUrl(origin: FaultOrigin, image: ImageFixture): string {
  return `${origin.url}/v2/${image.repository}/blobs/${image.layers[0]?.digest}`;
}

/** How much of the body came, and whether it ended well. */
async function drain(response: Response): Promise<{ bytes: Buffer; whole: boolean }> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), whole: true };
  } catch {
    return { bytes: Buffer.concat(chunks), whole: false };
  }
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

test('an image is read by tag, by digest and blob by blob', async () => {
  const { origin, image } = await serving();
  const manifests = `${origin.url}/v2/library/app/manifests`;
  const byTag = await fetch(`${manifests}/v1`);
  expect(byTag.headers.get('docker-content-digest')).toBe(image.root.digest);
  const bytes = Buffer.from(await byTag.arrayBuffer());
  expect(sha256(bytes)).toBe(image.root.digest);
  const children = manifestChildren(bytes);
  expect(children.map(({ digest }) => digest)).toEqual(image.blobs.map(({ digest }) => digest));
  for (const { digest, sizeBytes } of children) {
    const { bytes: blob } = await drain(await fetch(`${origin.url}/v2/library/app/blobs/${digest}`));
    expect([sha256(blob), blob.length]).toEqual([digest, sizeBytes]);
  }
  const head = await fetch(`${manifests}/${image.root.digest}`, { method: 'HEAD' });
  expect(head.headers.get('content-length')).toBe(String(image.root.bytes.length));
  expect((await fetch(`${manifests}/v2`)).status).toBe(404);
});

test('an index and a real layer', async () => {
  const image = await buildImage({ index: true, layers: [{ tarGzBytes: 10_000 }] });
  expect(manifestChildren(image.root.bytes)).toMatchObject([{ digest: image.manifest.digest, kind: 'manifest' }]);
  expect(image.layers[0]?.content.read(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
});

test('ranges are exact', async () => {
  const { origin, image } = await serving();
  const whole = (await drain(await fetch(blobUrl(origin, image)))).bytes;
  for (const [range, from, to] of [
    ['bytes=5-104', 5, 105],
    ['bytes=2999990-', 2_999_990, layerBytes],
    ['bytes=-7', layerBytes - 7, layerBytes],
    ['bytes=1000001-9999999', 1_000_001, layerBytes],
  ] as const) {
    const response = await fetch(blobUrl(origin, image), { headers: { range } });
    expect(response.status, range).toBe(206);
    expect(response.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/${layerBytes}`);
    expect((await drain(response)).bytes.equals(whole.subarray(from, to)), range).toBe(true);
  }
  const beyond = await fetch(blobUrl(origin, image), { headers: { range: 'bytes=5000000-' } });
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${layerBytes}`]);
});

test('any part of a huge made-up blob is cheap, and the same every time', async () => {
  const content = await syntheticContent('huge', 64 * 1024 * 1024);
  const offset = 50_000_003;
  expect(content.read(offset, 1000).subarray(17, 29)).toEqual(content.read(offset + 17, 12));
  expect(content.read(0, 16)).not.toEqual(content.read(16, 16));
  expect((await syntheticContent('other', 100)).digest).not.toBe((await syntheticContent('huge', 100)).digest);
});

test('requests and bytes are counted by kind, method, path and digest', async () => {
  const { origin, image } = await serving();
  await drain(await fetch(blobUrl(origin, image)));
  await drain(await fetch(blobUrl(origin, image), { headers: { range: 'bytes=0-99' } }));
  await fetch(`${origin.url}/v2/library/app/manifests/v1`, { method: 'HEAD' });
  const stats = origin.stats();
  expect(stats.byKind.blob).toEqual({ requests: 2, bytes: layerBytes + 100 });
  expect(stats.byKind.manifest).toEqual({ requests: 1, bytes: 0 });
  expect(stats.byMethod).toMatchObject({ GET: { requests: 2 }, HEAD: { requests: 1 } });
  expect(stats.byDigest[image.layers[0]!.digest]).toEqual({ requests: 2, bytes: layerBytes + 100 });
  expect(stats.blobBytes).toBe(layerBytes + 100);
  expect(origin.requests.map(({ range, status }) => [range, status])).toEqual([
    [undefined, 200],
    ['bytes=0-99', 206],
    [undefined, 200],
  ]);
  origin.resetStats();
  expect(origin.stats().requests).toBe(0);
});

test('what a reader left unread does not count as sent', async () => {
  const origin = await FaultOrigin.start();
  onTestFinished(() => origin.down());
  const content = await syntheticContent('large', 64 * 1024 * 1024);
  origin.addBlob('library/app', content);
  const abort = new AbortController();
  const response = await fetch(`${origin.url}/v2/library/app/blobs/${content.digest}`, { signal: abort.signal });
  for await (const _ of response.body ?? []) break;
  abort.abort();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(origin.stats().blobBytes).toBeLessThan(content.sizeBytes / 2);
});

test.each(['cut-short', 'reset', 'stall'] as const)('%s after some bytes', async (type) => {
  const { origin, image } = await serving();
  origin.inject({ kind: 'blob' }, { type, afterBytes: 100_000 });
  const response = await fetch(blobUrl(origin, image), { signal: AbortSignal.timeout(500) });
  expect(response.headers.get('content-length')).toBe(String(layerBytes));
  const { bytes, whole } = await drain(response);
  expect(whole).toBe(false);
  if (type === 'reset') expect(bytes.length).toBeLessThanOrEqual(100_000);
  else expect(bytes.length).toBe(100_000);
  expect(origin.stats().blobBytes).toBe(100_000);
});

test('no answer at all', async () => {
  const { origin, image } = await serving();
  origin.inject({ kind: 'blob' }, { type: 'no-answer' });
  await expect(fetch(blobUrl(origin, image), { signal: AbortSignal.timeout(200) })).rejects.toThrow();
  expect(origin.requests[0]?.status).toBe(0);
});

test('faults that change an answer', async () => {
  const { origin, image } = await serving();
  const whole = (await drain(await fetch(blobUrl(origin, image)))).bytes;
  const headers = { range: 'bytes=1000-1999' };

  origin.inject({}, { type: 'ignore-range' });
  expect((await drain(await fetch(blobUrl(origin, image), { headers }))).bytes.length).toBe(layerBytes);
  origin.clearFaults();

  origin.inject({ ranged: true }, { type: 'wrong-byte', offset: 1500 });
  const damaged = (await drain(await fetch(blobUrl(origin, image), { headers }))).bytes;
  expect([...damaged.keys()].filter((at) => damaged[at] !== whole[1000 + at])).toEqual([500]);
  origin.clearFaults();

  origin.inject({}, { type: 'no-content-length' });
  const unsized = await fetch(blobUrl(origin, image));
  expect(unsized.headers.get('content-length')).toBeNull();
  expect((await drain(unsized)).bytes.equals(whole)).toBe(true);
  origin.clearFaults();

  origin.inject({}, { type: 'status', status: 429, retryAfter: 3 });
  const refused = await fetch(blobUrl(origin, image));
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '3']);
});

test('a slow answer takes its time', async () => {
  const { origin, image } = await serving();
  origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 100_000 });
  const reading = fetch(blobUrl(origin, image), { signal: AbortSignal.timeout(300) }).then(drain);
  expect((await reading).whole).toBe(false);
  expect(origin.stats().blobBytes).toBeLessThan(100_000);
});

test('matchers choose by digest, by turn and by number; the newest of a type strikes', async () => {
  const { origin, image } = await serving();
  const status = async (): Promise<number> => (await fetch(blobUrl(origin, image), { method: 'HEAD' })).status;
  const second = origin.inject({ kind: 'blob', nth: 2 }, { type: 'status', status: 500 });
  expect([await status(), await status(), await status()]).toEqual([200, 500, 200]);
  expect(second.hits).toBe(1);
  origin.inject({ digest: image.layers[0]!.digest }, { type: 'status', status: 503 });
  const first = origin.inject({ path: /blobs/, times: 1 }, { type: 'status', status: 404 });
  expect([await status(), await status()]).toEqual([404, 503]);
  origin.inject({ digest: image.config.digest }, { type: 'status', status: 418 });
  expect(await status()).toBe(503);
  first.remove();
  origin.clearFaults();
  expect(await status()).toBe(200);
});

test('blobs from a signed address on another port, which runs out', async () => {
  const { origin, image } = await serving();
  origin.inject({ kind: 'blob' }, { type: 'redirect' });
  const response = await fetch(blobUrl(origin, image));
  expect(new URL(response.url).host).not.toBe(origin.registry);
  expect((await drain(response)).bytes.length).toBe(layerBytes);
  expect(origin.stats()).toMatchObject({
    blobBytes: layerBytes,
    byKind: { blob: { bytes: 0 }, signed: { requests: 1 } },
  });
  origin.expireSignedAddresses();
  expect((await fetch(response.url)).status).toBe(403);
  expect((await fetch(response.url, { headers: { authorization: 'Basic x' } })).status).toBe(400);
  origin.inject({ kind: 'blob', times: 1 }, { type: 'redirect', expired: true });
  expect((await fetch(blobUrl(origin, image))).status).toBe(403);
  expect((await fetch(blobUrl(origin, image))).status).toBe(200);
});

test('Basic login', async () => {
  const { origin, image } = await serving({ auth: { type: 'basic', username: 'me', password: 'secret' } });
  const fault = origin.inject({ kind: 'blob', times: 1 }, { type: 'status', status: 503 });
  expect((await fetch(blobUrl(origin, image))).headers.get('www-authenticate')).toMatch(/^Basic /);
  const headers = { authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` };
  expect(fault.hits).toBe(0);
  expect((await fetch(blobUrl(origin, image), { headers })).status).toBe(503);
  expect((await fetch(blobUrl(origin, image), { headers })).status).toBe(200);
});

test('Bearer tokens of one repository, which end and can be revoked', async () => {
  const { origin, image } = await serving({ auth: { type: 'bearer', expiresInSeconds: 60 } });
  const refused = await fetch(blobUrl(origin, image), { method: 'HEAD' });
  const [, realm, service, scope] =
    /^Bearer realm="(.+)",service="(.+)",scope="(.+)"$/.exec(refused.headers.get('www-authenticate') ?? '') ?? [];
  const answer = await fetch(`${realm}?service=${service}&scope=${scope}`);
  const granted = (await answer.json()) as { token: string };
  const headers = { authorization: `Bearer ${granted.token}` };
  expect((await fetch(blobUrl(origin, image), { headers, method: 'HEAD' })).status).toBe(200);
  const elsewhere = `${origin.url}/v2/other/app/manifests/v1`;
  expect((await fetch(elsewhere, { headers })).status).toBe(401);
  origin.revokeTokens();
  expect((await fetch(blobUrl(origin, image), { headers, method: 'HEAD' })).status).toBe(401);
});

test('down breaks connections and refuses new ones; up comes back on the same port', async () => {
  const { origin, image } = await serving();
  const url = blobUrl(origin, image);
  origin.inject({ kind: 'blob', times: 1 }, { type: 'stall', afterBytes: 10 });
  const reading = fetch(url).then(drain);
  await origin.until((stats) => stats.blobBytes === 10);
  await origin.down();
  expect((await reading).whole).toBe(false);
  await expect(fetch(url)).rejects.toThrow();
  await origin.up();
  expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
});
