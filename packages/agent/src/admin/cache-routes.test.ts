/** The cache's part of the admin API over real HTTP, with a real store behind it. */
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, OCI_INDEX } from '@shoal/oci';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startAdmin } from './admin.ts';
import { type DeskStage, deskStage, digestOfBytes, imageManifest, unasked } from './cache-desk.fixture.ts';
import { createMetrics } from './metrics.ts';

interface Api extends DeskStage {
  get(path: string): Promise<Response>;
  post(path: string, body: unknown, type?: string): Promise<Response>;
  /** Of an answer in lines. */
  lines(response: Promise<Response>): Promise<Record<string, unknown>[]>;
}

async function api(quotaBytes?: number): Promise<Api> {
  const stage = await deskStage(quotaBytes);
  const admin = await startAdmin(
    { host: '127.0.0.1', port: 0 },
    {
      metrics: createMetrics(),
      readiness: () => ({ ready: true, reasons: [] }),
      status: () => ({}),
      forget: async () => {},
      ...unasked,
      cache: stage.desk,
      logger: pino({ level: 'silent' }),
    },
  );
  onTestFinished(() => admin.stop());
  return {
    ...stage,
    get: (path) => fetch(`${admin.url}/v1/cache/${path}`),
    post: (path, body, type = 'application/json') =>
      fetch(`${admin.url}/v1/cache/${path}`, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'content-type': type },
      }),
    async lines(response) {
      const text = await (await response).text();
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
  };
}

const IMAGE = 'a.test/org/app:v1';

test('blobs are listed one a line, the least recently used first, with what the manifests say they are', async () => {
  const { get, lines, image, keep, store } = await api();
  const { manifest, config, layers } = await image(IMAGE, [randomBytes(500)]);
  const unknown = await keep(randomBytes(20));
  const handle = (await store.open(config))!;
  const listed = await lines(get('blobs'));
  expect(listed.map(({ digest, kind, sizeBytes, pinned, inUse }) => [digest, kind, sizeBytes, pinned, inUse])).toEqual([
    [digestOf(layers[0]!), 'layer', 500, false, false],
    [digestOf(manifest), 'manifest', expect.any(Number), false, false],
    [digestOf(unknown), undefined, 20, false, false],
    [digestOf(config), 'config', expect.any(Number), false, true],
  ]);
  expect(listed[0]).toMatchObject({ registry: 'a.test', usedAt: expect.stringMatching(/^2026-01-01T00:00:0\d/) });
  handle.release();
  // Looking is no use of a blob.
  expect((await lines(get('blobs'))).map(({ digest }) => digest)).toEqual(listed.map(({ digest }) => digest));
});

test('an image is removed with all that belongs to it, and a digest by its beginning', async () => {
  const { post, image, keep, store, gone } = await api();
  const { manifest, config, layers } = await image(IMAGE, [randomBytes(500), randomBytes(600)]);
  const other = await keep(randomBytes(20));
  const answer = await (await post('remove', { names: [IMAGE] })).json();
  expect(answer).toMatchObject({ blobs: 4, keptPinned: 0, usage: { blobs: 1, bytes: 20 } });
  expect(new Set(gone)).toEqual(new Set([manifest, config, ...layers].map((id) => [id, 'removed'])));
  await post('remove', { names: [digestOf(other).slice(0, 20)] });
  expect(store.kept()).toEqual([]);
});

test('a blob that is being read goes when it is not read any more, and its reader gets all of it', async () => {
  const { post, keep, store } = await api();
  const content = randomBytes(3_000);
  const id = await keep(content);
  const handle = (await store.open(id))!;
  expect(await (await post('remove', { names: [digestOf(id)] })).json()).toMatchObject({ named: [{ inUse: true }] });
  expect([await store.find(id), store.usage().bytes]).toEqual([undefined, 3_000]);
  expect(await handle.read(0, 3_000)).toEqual(content);
  handle.release();
  expect(store.usage().bytes).toBe(0);
});

test('what is pinned stays, unless it is forced to go; then its pin is gone, too', async () => {
  const { post, get, image, store } = await api();
  const base = randomBytes(500);
  const first = await image(IMAGE, [base]);
  const second = await image('a.test/org/two:v1', [base, randomBytes(100)]);
  expect(await (await post('pin', { names: [IMAGE] })).json()).toEqual({
    pins: [{ name: IMAGE, blobs: 3, bytes: expect.any(Number), missing: 0 }],
  });
  const refused = await post('remove', { names: ['a.test/org/two:v1', IMAGE] });
  expect([refused.status, await refused.json()]).toEqual([
    409,
    { error: `${IMAGE} is pinned; unpin it, or add --force`, code: 'pinned' },
  ]);
  expect(store.kept()).toHaveLength(6);
  // A layer that a pinned image has, too, stays when another image goes.
  expect(await (await post('remove', { names: ['a.test/org/two:v1'] })).json()).toMatchObject({
    blobs: 2 + 1,
    keptPinned: 1,
  });
  expect(await store.find(first.layers[0]!)).toBeDefined();
  expect(await store.find(second.manifest)).toBeUndefined();
  expect(await (await post('remove', { names: [IMAGE], force: true })).json()).toMatchObject({ blobs: 3 });
  expect(await (await get('pins')).json()).toMatchObject({ pins: [], usage: { blobs: 0, pinnedBytes: 0 } });
});

test('pins go by the name they were made under, also when the tag is another image by now', async () => {
  const { post, image, keep, store } = await api();
  const before = await image(IMAGE, [randomBytes(500)]);
  await post('pin', { names: [IMAGE] });
  const after = await image(IMAGE, [randomBytes(600)]);
  expect([store.pins.has(before.manifest), store.pins.has(after.manifest)]).toEqual([true, false]);
  const byDigest = await post('unpin', { names: [digestOf(before.config)] });
  expect(await byDigest.json()).toMatchObject({ error: expect.stringContaining(`is pinned as ${IMAGE}; unpin that`) });
  await post('pin', { names: [IMAGE] });
  expect([store.pins.has(before.manifest), store.pins.has(after.manifest)]).toEqual([false, true]);
  expect(await (await post('unpin', { names: [IMAGE] })).json()).toEqual({ unpinned: [IMAGE] });
  expect(store.pins.list()).toEqual([]);
  const single = await keep(randomBytes(10));
  await post('pin', { names: [digestOf(single)] });
  expect(await (await post('unpin', { names: [digestOf(single).slice(0, 20)] })).json()).toEqual({
    unpinned: [single],
  });
});

test('of an index, the platforms that are here belong to the image, and those of other machines do not', async () => {
  const { post, get, lines, image, keep, tags, store } = await api();
  const held = await image('a.test/org/amd64:v1', [randomBytes(500)]);
  const manifests = [digestOf(held.manifest), `sha256:${'0'.repeat(64)}`, digestOf(held.manifest)].map((digest) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size: 400,
  }));
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  const root = await keep(index, OCI_INDEX);
  tags.set(IMAGE, digestOfBytes(index));
  expect(await (await post('pin', { names: [IMAGE] })).json()).toMatchObject({ pins: [{ blobs: 4, missing: 0 }] });
  expect(store.kept().every(({ isPinned }) => isPinned)).toBe(true);
  expect((await lines(get('blobs'))).find(({ digest }) => digest === digestOf(root))).toMatchObject({ kind: 'index' });
});

test('layers that are not here are pinned when they come', async () => {
  const { post, keep, tags, store } = await api();
  const [config, layer] = [Buffer.from('{}'), randomBytes(700)];
  const manifest = imageManifest(config, [layer]);
  await keep(manifest, 'application/vnd.oci.image.manifest.v1+json');
  tags.set(IMAGE, digestOfBytes(manifest));
  expect(await (await post('pin', { names: [IMAGE] })).json()).toMatchObject({ pins: [{ blobs: 3, missing: 2 }] });
  const id = await keep(layer);
  expect(store.kept().find((blob) => blob.id === id)).toMatchObject({ isPinned: true });
});

test.each([
  [
    'an image that is not here',
    'pin',
    'a.test/org/none:v1',
    /no manifest of this image is in the cache; pull it first/,
  ],
  ['an image that is not here', 'remove', 'a.test/org/none:v1', /no manifest of this image is in the cache/],
  ['a digest that is not here', 'remove', `sha256:${'0'.repeat(64)}`, /no blob of the cache has this digest/],
  ['what is not pinned', 'unpin', 'a.test/org/none:v1', /is not pinned; shoal cache ls --pins lists what is/],
  ['what is no name', 'remove', 'A b', /is neither a digest nor an image/],
  [
    'more than may be pinned',
    'pin',
    'a.test/org/large:v1',
    /may be; unpin others, or give the agent a larger --cache-size/,
  ],
])('refuses %s: %s %s', async (_, path, name, reason) => {
  const { post, image, store } = await api(2_000);
  await image('a.test/org/large:v1', [randomBytes(1_400)]);
  const answer = await post(path, { names: [name] });
  expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([
    409,
    expect.stringMatching(reason),
  ]);
  expect([store.kept().length, store.pins.list().length]).toEqual([3, 0]);
});

test('the beginning of several digests is too little', async () => {
  const { post, keep } = await api();
  const found = new Map<string, Buffer>();
  for (let index = 0; ; index++) {
    const bytes = Buffer.from(`${index}`);
    const start = digestOfBytes(bytes).slice(0, 'sha256:'.length + 2);
    const twin = found.get(start);
    found.set(start, bytes);
    if (twin === undefined) continue;
    await keep(bytes);
    await keep(twin);
    const answer = await post('remove', { names: [start] });
    expect(await answer.json()).toMatchObject({ code: 'ambiguous', error: expect.stringContaining('give more of it') });
    return;
  }
});

test('prunes what is old, down to a size, and says first what would go', async () => {
  const { post, keep, clock, store, gone } = await api();
  const old = [await keep(randomBytes(100)), await keep(randomBytes(100)), await keep(randomBytes(100))];
  clock.nowMs += 60_000;
  await keep(randomBytes(100));
  const wanted = { olderThanMs: 30_000, keepBytes: 250 };
  const would = await (await post('prune', { ...wanted, dryRun: true })).json();
  expect(would).toMatchObject({ blobs: 2, bytes: 200, partials: 0, usage: { blobs: 4 } });
  expect(gone).toEqual([]);
  expect(await (await post('prune', wanted)).json()).toMatchObject({ blobs: 2, usage: { blobs: 2, bytes: 200 } });
  expect(gone).toEqual([
    [old[0], 'pruned'],
    [old[1], 'pruned'],
  ]);
  await post('prune', {});
  expect(store.kept()).toEqual([]);
});

test('verifying tells what was damaged, and it is gone', async () => {
  const { post, lines, keep, dataDir, gone } = await api();
  const [whole, damaged] = [await keep(randomBytes(100)), await keep(randomBytes(200))];
  const file = await open(join(dataDir, 'blobs', 'sha256', `${digestOf(damaged).slice(7)}@a.test`), 'r+');
  await file.write(Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]), 0, 8, 50);
  await file.close();
  const told = await lines(post('verify', {}));
  expect(told.flatMap((line) => line.damaged)).toMatchObject([{ digest: digestOf(damaged), sizeBytes: 200 }]);
  expect(told.at(-1)).toMatchObject({ checkedBlobs: 2, checkedBytes: 300, totalBlobs: 2, totalBytes: 300, done: true });
  expect(gone).toEqual([[damaged, 'damaged']]);
  expect(await lines(post('verify', {}))).toMatchObject([{ checkedBlobs: 1, damaged: [], done: true }]);
  expect(whole).toBeDefined();
});

test('what is not JSON, too long or has other fields is refused', async () => {
  const { post, keep, store } = await api();
  const names = [digestOf(await keep(randomBytes(10)))];
  // What a page in a browser can send without asking first.
  expect((await post('remove', { names }, 'text/plain')).status).toBe(415);
  expect((await post('prune', '{}', 'text/plain')).status).toBe(415);
  expect((await post('prune', '', 'application/x-www-form-urlencoded')).status).toBe(415);
  for (const body of ['', '[]', 'null', '{', { names: [] }, { names: Array(101).fill('x') }, { names, all: true }]) {
    expect((await post('remove', body)).status, JSON.stringify(body)).toBe(400);
  }
  expect((await post('remove', { names: Array(100).fill('x'.repeat(1_000)) })).status).toBe(413);
  expect((await post('prune', { keepBytes: -1 })).status).toBe(400);
  expect((await fetch((await post('verify', [])).url)).status).toBe(404);
  expect(store.kept()).toHaveLength(1);
});
