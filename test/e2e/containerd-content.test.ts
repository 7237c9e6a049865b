import { open, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cluster, type ClusterAgent, startCluster, sumOf } from '@shoal/cli';
import { request } from 'undici';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { DockerRegistry } from '../support/daemon/docker-registry.ts';
import { buildRunnableImage, pushImage, type RunnableImage } from '../support/daemon/runnable-image.ts';
import { CONTAINERD_STARTS_WITHIN_MS, containerds } from './containerds.ts';
import { describeSuite } from './suite.ts';

const registryName = 'registry.example';
/** Names what the other one has. */
const evilName = 'evil.example';
const payloadBytes = 6 * 1024 * 1024;
const INDEX_MANIFEST_CONFIG = 3;
/** What agents look at again every ten seconds is seen within this. */
const withinMs = 30_000;

interface ContainerdStatus {
  state: string;
  folder: string;
  blobs: number;
  bytes: number;
  waiting: number;
  wrong: number;
}

for (const { version, programs } of containerds)
  describeSuite('containerd', `containerd ${version}'s own content as a second source`, () => {
    const resources = new AsyncDisposableStack();
    let registry: DockerRegistry;
    /** The runtime of the first node, whose agent shares its content; and that of the second node. */
    let first: Containerd;
    let second: Containerd;
    let cluster: Cluster;
    let old: RunnableImage;
    let contentFolder: string;

    beforeAll(async () => {
      registry = resources.use(await DockerRegistry.start());
      const options = { cri: false, ...(await programs()) };
      first = resources.use(await Containerd.start(options));
      second = resources.use(await Containerd.start(options));
      // Before there was any agent.
      old = await publish('old');
      await pullDirectly('old');
      const folder = resources.use(await DaemonFolder.create('nodes'));
      cluster = await startCluster({
        nodes: 2,
        folder: folder.path,
        agentArguments: (index) => [
          ...['--registry', `${registryName}=${registry.url}`, '--registry', `${evilName}=${registry.url}`],
          ...(index === 0 ? ['--containerd-socket', first.socket] : []),
        ],
      });
      resources.defer(() => cluster.stop());
      await mirror(second, agent(1).mirrorUrl);
    }, CONTAINERD_STARTS_WITHIN_MS);
    afterAll(() => resources.disposeAsync());
    beforeEach(async () => {
      await registry.settle();
      registry.forget();
    });

    test('what was pulled before there was an agent is shared: another node reads no blob from the registry', async () => {
      await expect
        .poll(() => contentOf(agent(0)), { timeout: withinMs })
        .toMatchObject({
          state: 'listed',
          // Index, manifest, config and layers.
          blobs: blobCount(old),
          bytes: old.totalBytes + old.index.size + old.manifest.size,
          waiting: 0,
          wrong: 0,
        });
      contentFolder = (await contentOf(agent(0))).folder;
      await second.pull(reference('old'));
      expect(await second.runContainer(reference('old'))).toBe(`${old.expectedLine}\n`);
      await registry.settle();
      expect(old.blobs.flatMap(({ digest }) => registry.blobGets(digest))).toEqual([]);
      expect(await keptBytes(agent(0))).toBe(0);
    });

    test("what its runtime pulls through it is kept once, in containerd's store, and shared from there", async () => {
      const image = await publish('new');
      const { blobs: before } = await contentOf(agent(0));
      await mirror(first, agent(0).mirrorUrl);
      await first.pull(reference('new'));
      await registry.settle();
      for (const { digest, size } of ownLayers(image)) expect(registry.blobBytes(digest)).toBeGreaterThanOrEqual(size);
      await expect.poll(() => keptBytes(agent(0)), { timeout: withinMs }).toBe(0);
      expect(await contentOf(agent(0))).toMatchObject({ blobs: before + blobCount(image) - 1, waiting: 0 });
      registry.forget();
      await second.pull(reference('new'));
      expect(await second.runContainer(reference('new'))).toBe(`${image.expectedLine}\n`);
      await registry.settle();
      expect(image.blobs.flatMap(({ digest }) => registry.blobGets(digest))).toEqual([]);
    });

    test('a file that was damaged before it was hashed is never offered: it comes from the registry', async () => {
      const image = await publish('damaged');
      await agent(0).kill();
      await pullDirectly('damaged');
      const layer = largest(image);
      await flipByte(fileOf(layer.digest));
      await agent(0).restart();
      await expect.poll(() => contentOf(agent(0)), { timeout: withinMs }).toMatchObject({ waiting: 0, wrong: 1 });
      registry.forget();
      await second.pull(reference('damaged'));
      expect(await second.runContainer(reference('damaged'))).toBe(`${image.expectedLine}\n`);
      await registry.settle();
      const read = image.blobs.filter(({ digest }) => registry.blobBytes(digest) > 0);
      expect(read.map(({ digest }) => digest)).toEqual([layer.digest]);
      expect(registry.blobBytes(layer.digest)).toBeGreaterThanOrEqual(layer.size);
    });

    test('a file that is damaged later, unseen, is withdrawn when a piece of it is read', async () => {
      const image = await publish('rotten');
      await pullAndShare('rotten', image);
      const layer = largest(image);
      await flipByte(fileOf(layer.digest));
      registry.forget();
      await second.pull(reference('rotten'));
      expect(await second.runContainer(reference('rotten'))).toBe(`${image.expectedLine}\n`);
      await registry.settle();
      expect(registry.blobBytes(layer.digest)).toBeGreaterThan(0);
      expect((await contentOf(agent(0))).wrong).toBe(2);
    });

    test('what containerd collects is withdrawn: the next pull ends well, from the registry', async () => {
      const before = await contentOf(agent(0));
      await first.remove(reference('old'));
      await expect
        .poll(async () => (await contentOf(agent(0))).blobs, { timeout: withinMs })
        .toBe(before.blobs - blobCount(old) + 1);
      await second.remove(reference('old'));
      await prune(agent(1));
      const fromPeers = await bytesFromPeers(agent(1));
      registry.forget();
      await second.pull(reference('old'));
      expect(await second.runContainer(reference('old'))).toBe(`${old.expectedLine}\n`);
      await registry.settle();
      for (const { digest, size } of ownLayers(old)) expect(registry.blobBytes(digest)).toBeGreaterThanOrEqual(size);
      expect(await bytesFromPeers(agent(1))).toBe(fromPeers);
    });

    test('containerd may restart: what it pulls after that is shared, too', async () => {
      await first.restart();
      await pullAndShare('later', await publish('later'));
    });

    test('a registry that names what another one gave gets nothing of it', async () => {
      const image = await publish('named');
      await pullAndShare('named', image);
      const { blobs: before } = await contentOf(agent(0));
      registry.forget();
      await first.mirror({ registry: evilName, upstream: registry.url, mirror: undefined });
      await first.pull(reference('named', evilName));
      await registry.settle();
      // It had them, asked nobody, and labelled them with both; the layers stay the former's with containerd 2.
      expect(image.blobs.flatMap(({ digest }) => registry.blobGets(digest))).toEqual([]);
      const fromPeers = await bytesFromPeers(agent(1));
      await second.mirror({ registry: evilName, upstream: registry.url, mirror: agent(1).mirrorUrl });
      await second.pull(reference('named', evilName));
      await registry.settle();
      for (const { digest, size } of ownLayers(image)) expect(registry.blobBytes(digest)).toBeGreaterThanOrEqual(size);
      expect(await bytesFromPeers(agent(1))).toBe(fromPeers);
      // Whoever comes later cannot tell whose those are that have both.
      await agent(0).restart();
      const expected = {
        state: 'listed',
        blobs: before - (version === 1 ? blobCount(image) : INDEX_MANIFEST_CONFIG),
        waiting: 0,
      };
      await expect.poll(() => contentOf(agent(0)), { timeout: withinMs }).toMatchObject(expected);
    });

    async function publish(name: string): Promise<RunnableImage> {
      const image = resources.use(await buildRunnableImage({ seed: `content-${name}`, payloadBytes }));
      await pushImage(image, `${registry.host}/org/${name}`);
      await registry.settle();
      registry.forget();
      tags.set(name, image.tag);
      return image;
    }

    const tags = new Map<string, string>();

    function reference(name: string, registry = registryName): string {
      return `${registry}/org/${name}:${tags.get(name)}`;
    }

    async function mirror(containerd: Containerd, url: string | undefined): Promise<void> {
      await containerd.mirror({ registry: registryName, upstream: registry.url, mirror: url });
    }

    /** By the first node's runtime, past its agent. */
    async function pullDirectly(name: string): Promise<void> {
      await mirror(first, undefined);
      await first.pull(reference(name));
    }

    /** The same while the first agent runs, until it shares all of the image. */
    async function pullAndShare(name: string, image: RunnableImage): Promise<void> {
      const { blobs: before } = await contentOf(agent(0));
      await pullDirectly(name);
      const expected = { blobs: before + blobCount(image) - 1, waiting: 0 };
      await expect.poll(() => contentOf(agent(0)), { timeout: withinMs }).toMatchObject(expected);
    }

    /** In the first node's containerd. */
    function fileOf(digest: string): string {
      return join(contentFolder, 'blobs', digest.replace(':', '/'));
    }

    function agent(index: number): ClusterAgent {
      const found = cluster.agents[index];
      if (found === undefined) throw new Error(`no agent ${index}`);
      return found;
    }
  });

async function contentOf(agent: ClusterAgent): Promise<ContainerdStatus> {
  const { body } = await request(new URL('/v1/status', agent.adminUrl));
  const { containerd } = (await body.json()) as { containerd?: ContainerdStatus };
  if (containerd === undefined) throw new Error('it was told of no containerd');
  return containerd;
}

/** Index, manifest, config and layers. */
function blobCount(image: RunnableImage): number {
  return image.blobs.length + 2;
}

/** Without the first one, which is the same in all images of these tests. */
function ownLayers(image: RunnableImage): RunnableImage['layers'] {
  return image.layers.slice(1);
}

function largest(image: RunnableImage): RunnableImage['layers'][number] {
  const [layer] = ownLayers(image).toSorted((a, b) => b.size - a.size);
  if (layer === undefined) throw new Error('an image without layers');
  return layer;
}

/** Bytes of files in the agent's own cache. */
async function keptBytes(agent: ClusterAgent): Promise<number> {
  const files = await readdir(join(agent.dataFolder, 'blobs'), { recursive: true, withFileTypes: true });
  const sizes = files.filter((file) => file.isFile()).map(async (file) => stat(join(file.parentPath, file.name)));
  return (await Promise.all(sizes)).reduce((sum, { size }) => sum + size, 0);
}

async function bytesFromPeers(agent: ClusterAgent): Promise<number> {
  return sumOf(await agent.metrics(), 'shoal_bytes_total', { source: 'peer', direction: 'in' });
}

async function prune(agent: ClusterAgent): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const { statusCode, body } = await request(new URL('/v1/cache/prune', agent.adminUrl), {
    method: 'POST',
    headers,
    body: '{}',
  });
  expect(statusCode, await body.text()).toBe(200);
}

/** In the middle of the file, which looks as it did before. */
async function flipByte(path: string): Promise<void> {
  const { size, atimeMs, mtimeMs } = await stat(path);
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    const at = Math.floor(size / 2);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of((byte[0] ?? 0) ^ 0xff), 0, 1, at);
  } finally {
    await file.close();
  }
  await utimes(path, atimeMs / 1_000, mtimeMs / 1_000);
}
