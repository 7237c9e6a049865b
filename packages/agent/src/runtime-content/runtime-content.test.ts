import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, blobIdOf } from '@shoal/oci';
import { pino } from 'pino';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { BlobStore } from '../store/blob-store.ts';
import { openStore } from '../store/open-store.ts';
import { type ContentFolder, contentFolder } from './content-folder.fixture.ts';
import type { ContentWatchOptions } from './content-watch.ts';
import { RuntimeContent } from './runtime-content.ts';
import { ScriptedContainerd } from './scripted-containerd.fixture.ts';

const WITHIN = { timeout: 5_000 };

let folder: ContentFolder;
let containerd: ScriptedContainerd;
let own: BlobStore;
let content: RuntimeContent;
let events: string[];

beforeEach(async () => {
  folder = await contentFolder();
  containerd = new ScriptedContainerd(folder);
  events = [];
});

async function start(options: Partial<ContentWatchOptions> = {}): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'shoal-runtime-content-'));
  const logger = pino({ level: 'silent' });
  own = await openStore({ dataDir, quotaBytes: 1_000_000, minFreeDiskBytes: 0 }, { logger, clock: Date.now });
  content = new RuntimeContent(
    { socket: containerd.socket, namespaces: [], ...options },
    {
      own,
      idOf: blobIdOf,
      onHeld: ({ id }) => events.push(`held ${id}`),
      onLost: ({ id }) => events.push(`lost ${id}`),
      logger,
      clock: Date.now,
    },
  );
  onTestFinished(async () => {
    await content.stop();
    await own.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  content.start();
}

/** A blob of `a.example` in containerd's store; `registries`: what it is labelled with. */
async function keep(namespace: string, sizeBytes = 1_000, registries: readonly string[] = ['a.example']) {
  const blob = await folder.add(sizeBytes);
  const listed = containerd.content.get(namespace) ?? [];
  containerd.content.set(namespace, [...listed, { digest: blob.digest, sizeBytes, registries }]);
  return blob;
}

const untilShared = (id: BlobId) => vi.waitFor(() => expect(content.has(id)).toBe(true), WITHIN);

async function listedIds(): Promise<BlobId[]> {
  const ids: BlobId[] = [];
  for await (const { id } of content.store.list()) ids.push(id);
  return ids;
}

test('what containerd had before is found, told of, and read through the store', async () => {
  const { record, bytes } = await keep('k8s.io');
  await containerd.start();
  await start();
  await untilShared(record.id);
  expect(events).toEqual([`held ${record.id}`]);
  expect(await content.store.find(record.id)).toEqual(record);
  expect(await listedIds()).toEqual([record.id]);
  const handle = await content.store.open(record.id);
  expect(await handle?.read(0, 1_000)).toEqual(bytes);
  handle?.release();
  expect(content.report()).toEqual({
    socket: containerd.socket,
    folder: folder.path,
    state: 'listed',
    ...{ blobs: 1, bytes: 1_000, waiting: 0, wrong: 0, unreadable: 0 },
  });
  // Not the cache's.
  expect(content.store.usage()).toMatchObject({ blobs: 0, bytes: 0 });
});

test('only chosen namespaces are shared, and the labels of all of them are evidence', async () => {
  const chosen = await keep('k8s.io');
  const hidden = await keep('moby');
  const shared = await keep('k8s.io', 1_001, ['evil.example']);
  // Content that came from a.example, by way of another namespace.
  containerd.content.get('moby')?.push({ digest: shared.digest, sizeBytes: 1_001, registries: ['a.example'] });
  containerd.content.get('k8s.io')?.push({ digest: 'sha256:short', sizeBytes: -1, registries: ['a.example'] });
  await containerd.start();
  await start({ namespaces: ['k8s.io'] });
  await untilShared(chosen.record.id);
  expect(content.report()).toMatchObject({ blobs: 1, waiting: 0 });
  expect(content.has(hidden.record.id)).toBe(false);
  expect(await content.store.find(blobIdOf('evil.example', shared.digest))).toBeUndefined();
});

test('a change is seen when containerd tells of it, and a file that goes when it goes', async () => {
  await keep('default');
  await containerd.start();
  await start();
  await vi.waitFor(() => expect(content.report().blobs).toBe(1), WITHIN);
  const later = await keep('default');
  containerd.tell('/images/create');
  await untilShared(later.record.id);
  const lists = containerd.lists;
  await folder.remove(later.digest);
  await vi.waitFor(() => expect(events).toContain(`lost ${later.record.id}`), WITHIN);
  expect(containerd.lists).toBe(lists);
});

test('without any news it is listed again after a while', async () => {
  const { record, digest } = await keep('default');
  await containerd.start();
  await start({ rescanMs: 50 });
  await untilShared(record.id);
  containerd.content.set('default', []);
  await vi.waitFor(() => expect(events).toContain(`lost ${record.id}`), WITHIN);
  expect(content.report().blobs).toBe(0);
  expect(await content.store.find(blobIdOf('a.example', digest))).toBeUndefined();
});

test('while containerd is away what it had is shared; when it is back, what is new is, too', async () => {
  const { record } = await keep('default');
  await start();
  await vi.waitFor(() => expect(content.report().state).toBe('unreachable'), WITHIN);
  expect(content.report().problem).toContain('ENOENT');
  await containerd.start();
  await untilShared(record.id);
  await containerd.stop();
  await vi.waitFor(() => expect(content.report().state).toBe('unreachable'), WITHIN);
  expect(content.has(record.id)).toBe(true);
  const later = await keep('default');
  await containerd.start();
  await untilShared(later.record.id);
  expect(content.report()).toMatchObject({ state: 'listed', blobs: 2 });
});

test('files that are not where containerd says are a finding, and shared from where they are', async () => {
  const { record } = await keep('default');
  await containerd.start();
  await start({ root: join(folder.root, 'nowhere') });
  await vi.waitFor(() => expect(content.report().state).toBe('unreadable'), WITHIN);
  expect(content.report().problem).toBe(
    `${join(folder.root, 'nowhere/io.containerd.content.v1.content/blobs/sha256')} is not there`,
  );
  await start({ root: folder.root });
  await untilShared(record.id);
});

test('what the agent kept itself goes when containerd has it, unless it is pinned; nothing is lost to others by that', async () => {
  const [double, pinned] = [await keep('default', 2_000), await keep('default', 3_000)];
  await start();
  await own.put(double.record.id, double.bytes);
  await own.put(pinned.record.id, pinned.bytes);
  await own.pins.put({ name: 'p', blobs: new Map([[pinned.record.id, 3_000]]) });
  await containerd.start();
  await vi.waitFor(() => expect(own.usage()).toMatchObject({ blobs: 1, bytes: 3_000 }), WITHIN);
  expect(await own.find(double.record.id)).toBeUndefined();
  expect(await listedIds()).toEqual(expect.arrayContaining([double.record.id, pinned.record.id]));
  expect(await listedIds()).toHaveLength(2);
  // The own copy is still here when containerd's goes.
  await folder.remove(pinned.digest);
  await folder.remove(double.digest);
  await vi.waitFor(() => expect(events).toContain(`lost ${double.record.id}`), WITHIN);
  expect(events).not.toContain(`lost ${pinned.record.id}`);
  expect(await content.store.find(pinned.record.id)).toEqual(pinned.record);
});

test('damage that a reader finds has containerd’s file hashed again', async () => {
  const { record, digest } = await keep('default');
  await containerd.start();
  await start();
  await untilShared(record.id);
  await folder.damage(digest);
  await content.store.drop(record.id);
  expect(events).toEqual([`held ${record.id}`, `lost ${record.id}`]);
  await vi.waitFor(() => expect(content.report().wrong).toBe(1), WITHIN);
});

test('what an operator removes from the cache is not taken from containerd', async () => {
  const { record } = await keep('default');
  await containerd.start();
  await start();
  await untilShared(record.id);
  await content.store.drop(record.id, 'removed');
  expect(content.has(record.id)).toBe(true);
});
