/** What stays and what goes, beyond what makes room for others: pins, shedding, and blobs that are read back. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobId } from '@shoal/oci';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobStore } from './blob-store.ts';
import { openStore, type StoreDependencies, type StoreOptions } from './open-store.ts';

const KIB = 1024;
const PIECE = 256 * KIB;

let dataDir: string;
let now: number;
const opened: BlobStore[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-keeping-'));
  now = 1_700_000_000_000;
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(options: Partial<StoreOptions> = {}, more: Partial<StoreDependencies> = {}): Promise<BlobStore> {
  const store = await openStore(
    { dataDir, quotaBytes: 64 * 1024 * KIB, minFreeDiskBytes: 0, ...options },
    { logger: pino({ level: 'silent' }), clock: () => now++, ...more },
  );
  opened.push(store);
  return store;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
const idOf = (bytes: Uint8Array): BlobId => `a.test/sha256:${sha256(bytes).toString('hex')}` as BlobId;
const blobPath = (id: BlobId) => join(dataDir, 'blobs', id.replace(/(.*)\/(.*):(.*)/, '$2/$3@$1'));

async function keep(store: BlobStore, content: Uint8Array): Promise<BlobId> {
  const id = idOf(content);
  await store.put(id, content);
  return id;
}

async function contentOf(store: BlobStore, id: BlobId): Promise<Buffer | undefined> {
  const handle = await store.open(id);
  const bytes = await handle?.read(0, handle.sizeBytes);
  handle?.release();
  return bytes;
}

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0] = byte[0]! ^ 0xff;
  await file.write(byte, 0, 1, offset);
  await file.close();
}

async function replace(path: string): Promise<void> {
  await rm(path);
  await writeFile(path, randomBytes(PIECE));
}

describe('pins', () => {
  test('a pinned blob is not evicted, and a newcomer that has no room beside it is refused', async () => {
    const store = await start({ quotaBytes: 1000, lowWater: 1 });
    const pinned = await keep(store, randomBytes(400));
    await store.pins.put({ name: 'one', blobs: new Map([[pinned, 400]]) });
    const other = await keep(store, randomBytes(400));
    const third = await keep(store, randomBytes(400));
    expect((await Array.fromAsync(store.list())).map(({ id }) => id)).toEqual([pinned, third]);
    expect(await store.find(other)).toBeUndefined();
    const large = randomBytes(700);
    await expect(store.put(idOf(large), large)).rejects.toMatchObject({ code: 'over-quota' });
    expect(store.pins.heldBytes()).toBe(400);
  });

  test('it stays over a restart with a cache that has become smaller, and one that is pinned before it comes stays, too', async () => {
    const first = await start({ quotaBytes: 1000 });
    const [content, later] = [randomBytes(400), randomBytes(100)];
    const pinned = await keep(first, content);
    const pin = new Map([
      [pinned, 400],
      [idOf(later), 100],
    ]);
    await first.pins.put({ name: 'one', blobs: pin });
    for (let index = 0; index < 5; index++) await keep(first, randomBytes(100));
    await first.close();
    const second = await start({ quotaBytes: 700 });
    expect(await contentOf(second, pinned)).toEqual(content);
    expect(second.usage().bytes).toBeLessThanOrEqual(700);
    await keep(second, later);
    for (let index = 0; index < 10; index++) await keep(second, randomBytes(150));
    expect((await second.find(pinned)) && (await second.find(idOf(later)))).toBeDefined();
  });

  test('three quarters of what eviction leaves may be pinned', async () => {
    const store = await start({ quotaBytes: 1000, highWater: 0.8, lowWater: 0.8 });
    expect(store.pins.limitBytes).toBe(600);
    await expect(store.pins.put({ name: 'x', blobs: new Map([[idOf(Buffer.from('x')), 601]]) })).rejects.toMatchObject({
      code: 'too-many-pins',
    });
  });
});

describe('shedding', () => {
  test('takes what nobody used since then, but for what is open or pinned', async () => {
    const gone: [BlobId, string][] = [];
    const store = await start({}, { onEvicted: ({ id }, reason) => gone.push([id, reason]) });
    const ids = [];
    for (let index = 0; index < 4; index++) ids.push(await keep(store, randomBytes(100)));
    const [idle, pinned, read, used] = ids as [BlobId, BlobId, BlobId, BlobId];
    await store.pins.put({ name: 'one', blobs: new Map([[pinned, 100]]) });
    const handle = (await store.open(read))!;
    const half = await store.partial(idOf(Buffer.from('half')), PIECE * 2);
    await half.write(0, Buffer.alloc(PIECE), sha256(Buffer.alloc(PIECE)), Buffer.from('x'));
    await half.close();
    now += 1000;
    const unusedSinceMs = now;
    (await store.open(used))!.release();
    const would = await store.shed({ unusedSinceMs, isDryRun: true }, 'expired');
    expect(would).toMatchObject({ blobs: [{ id: idle }], partials: 1, bytes: 100 + PIECE });
    expect(gone).toEqual([]);
    expect(await store.shed({ unusedSinceMs }, 'expired')).toEqual(would);
    expect(gone).toEqual([[idle, 'expired']]);
    expect([existsSync(blobPath(idle)), await readdir(join(dataDir, 'partial'))]).toEqual([false, []]);
    handle.release();
    expect((await store.shed({ unusedSinceMs }, 'expired')).blobs.map(({ id }) => id)).toEqual([read]);
    expect(store.kept().map(({ id }) => id)).toEqual([pinned, used]);
  });

  test('stops once so little is kept, the least recently used first', async () => {
    const store = await start();
    const ids = [];
    for (let index = 0; index < 5; index++) ids.push(await keep(store, randomBytes(100)));
    (await store.open(ids[0]!))!.release();
    await store.shed({ keepBytes: 250 }, 'pruned');
    expect(store.kept().map(({ id }) => id)).toEqual([ids[4], ids[0]]);
  });
});

describe('verifying', () => {
  const { signal } = new AbortController();

  test('a whole blob stays as it was, its last use too', async () => {
    const store = await start();
    const content = randomBytes(3 * 1024 * KIB + 5);
    const id = await keep(store, content);
    const before = store.kept();
    let bytes = 0;
    expect(await store.verify(id, { signal, onBytes: (read) => (bytes += read) })).toBe('whole');
    expect([bytes, store.kept()]).toEqual([content.length, before]);
    expect(await store.verify(idOf(Buffer.from('no')), { signal })).toBeUndefined();
  });

  test.each([
    ['changed', (path: string) => flip(path, 100_000)],
    ['cut short', (path: string) => truncate(path, 100_000)],
    ['removed', (path: string) => rm(path)],
    ['replaced', replace],
  ])('a blob that was %s on the disk is dropped and told, with its descriptor still open', async (_, damage) => {
    const gone: [BlobId, string][] = [];
    const store = await start({}, { onEvicted: ({ id }, reason) => gone.push([id, reason]) });
    const content = randomBytes(PIECE);
    const id = await keep(store, content);
    await contentOf(store, id);
    await damage(blobPath(id));
    expect(await store.verify(id, { signal })).toBe('damaged');
    expect(gone).toEqual([[id, 'damaged']]);
    expect([await store.find(id), existsSync(blobPath(id)), store.usage().bytes]).toEqual([undefined, false, 0]);
    await keep(store, content);
    expect(await contentOf(store, id)).toEqual(content);
  });

  test('ends with its signal and drops nothing', async () => {
    const store = await start();
    const id = await keep(store, randomBytes(PIECE));
    const verifying = store.verify(id, { signal: AbortSignal.abort(new Error('enough')) });
    await expect(verifying).rejects.toThrow('enough');
    expect(store.kept()).toMatchObject([{ id, isInUse: false }]);
  });
});
