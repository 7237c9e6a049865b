import { request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { smallImage } from './demo-folder.fixture.ts';
import type { WrittenImage } from './image-layout.ts';
import { type Origin, startOrigin } from './origin.ts';

async function running(): Promise<{ image: WrittenImage; origin: Origin; base: string; big: WrittenImage['config'] }> {
  const image = await smallImage();
  const origin = await startOrigin({ layoutFolder: image.folder, repository: 'shoal/demo' });
  onTestFinished(() => origin.close());
  return { image, origin, base: `${origin.url}/v2/shoal/demo`, big: image.layers[1]! };
}

test('a manifest comes by tag and by digest, with its type', async () => {
  const { image, base } = await running();
  for (const reference of ['latest', image.manifest.digest]) {
    const { statusCode, headers, body } = await request(`${base}/manifests/${reference}`);
    expect(statusCode).toBe(200);
    expect(headers['content-type']).toBe(image.manifest.mediaType);
    expect(headers['docker-content-digest']).toBe(image.manifest.digest);
    expect((await body.bytes()).length).toBe(image.manifest.sizeBytes);
  }
});

test('HEAD tells size and digest and sends nothing', async () => {
  const { origin, base, big } = await running();
  const { statusCode, headers, body } = await request(`${base}/blobs/${big.digest}`, { method: 'HEAD' });
  await body.dump();
  expect(statusCode).toBe(200);
  expect(headers['content-length']).toBe(String(big.sizeBytes));
  expect(origin.counts()).toEqual({ bytesSent: 0, requests: 1 });
});

test('a range is a 206 with exactly those bytes, and only they are counted', async () => {
  const { origin, base, big } = await running();
  const whole = await (await request(`${base}/blobs/${big.digest}`)).body.bytes();
  const { statusCode, headers, body } = await request(`${base}/blobs/${big.digest}`, {
    headers: { range: 'bytes=1000-1999999' },
  });
  expect(statusCode).toBe(206);
  expect(headers['content-range']).toBe(`bytes 1000-1999999/${big.sizeBytes}`);
  expect(Buffer.compare(await body.bytes(), whole.subarray(1000, 2_000_000))).toBe(0);
  expect(origin.counts()).toEqual({ bytesSent: big.sizeBytes + 1_999_000, requests: 2 });
});

test('a range beyond the end is a 416', async () => {
  const { base, big } = await running();
  const { statusCode, headers, body } = await request(`${base}/blobs/${big.digest}`, {
    headers: { range: `bytes=${big.sizeBytes}-` },
  });
  await body.dump();
  expect(statusCode).toBe(416);
  expect(headers['content-range']).toBe(`bytes */${big.sizeBytes}`);
});

test.each([
  ['manifests/missing', 'MANIFEST_UNKNOWN'],
  [`blobs/sha256:${'0'.repeat(64)}`, 'BLOB_UNKNOWN'],
  ['blobs/..%2f..%2findex.json', 'NAME_UNKNOWN'],
  ['tags/list', 'NAME_UNKNOWN'],
])('%s is a 404 with %s', async (path, code) => {
  const { base } = await running();
  const { statusCode, body } = await request(`${base}/${path}`);
  expect(statusCode).toBe(404);
  expect(await body.json()).toMatchObject({ errors: [{ code }] });
});

test('a reader that leaves early is counted as far as it read', async () => {
  const { origin, base, big } = await running();
  const { body } = await request(`${base}/blobs/${big.digest}`, { highWaterMark: 1 });
  for await (const _ of body) break;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(origin.counts().bytesSent).toBeLessThanOrEqual(big.sizeBytes);
  expect(origin.counts().requests).toBe(1);
});

test('the control port tells the counts and is not counted', async () => {
  const { origin, base } = await running();
  await (await request(`${base}/manifests/latest`)).body.dump();
  const first = await (await request(origin.controlUrl)).body.json();
  expect(first).toEqual(origin.counts());
  expect(origin.counts().requests).toBe(1);
});
