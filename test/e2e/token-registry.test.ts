import { type Cluster, type ClusterAgent, startCluster } from '@shoal/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { criPullImage, criRemoveImage } from '../support/daemon/cri.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { DockerRegistry } from '../support/daemon/docker-registry.ts';
import { buildRunnableImage, pushImage, type RunnableImage } from '../support/daemon/runnable-image.ts';
import { TokenServer } from '../support/daemon/token-server.ts';
import { describeSuite } from './suite.ts';

const registryName = 'registry.example';
const namespace = 'k8s.io';
const requestTimeoutMs = 20_000;
const alice = 'alice:correct-horse';
const bob = 'bob:battery-staple';

// A registry with a token server, as the public ones have: a private repository that is Alice's alone, one of Bob's, and a public
// one. Two agents without credentials; the kubelet's pull secrets do the rest.
describeSuite('containerd-cri', 'a registry with a token server', () => {
  const resources = new AsyncDisposableStack();
  let tokens: TokenServer;
  let registry: DockerRegistry;
  let cluster: Cluster;
  let containerd: Containerd;
  let secret: RunnableImage;
  let open: RunnableImage;

  beforeAll(async () => {
    const rights = ['pull', 'push'];
    tokens = resources.use(
      await TokenServer.start({
        users: {
          alice: { password: 'correct-horse', rights: { 'org/secret': rights, 'org/public': rights } },
          bob: { password: 'battery-staple', rights: { 'bob/own': rights } },
        },
        publicRepositories: ['org/public'],
      }),
    );
    registry = resources.use(await DockerRegistry.start({ tokens }));
    secret = resources.use(await buildRunnableImage({ seed: 'secret' }));
    open = resources.use(await buildRunnableImage({ seed: 'public' }));
    await pushImage(secret, `${registry.host}/org/secret`, alice);
    await pushImage(open, `${registry.host}/org/public`, alice);
    await pushImage(open, `${registry.host}/bob/own`, bob);
    const folder = resources.use(await DaemonFolder.create('nodes'));
    cluster = await startCluster({ nodes: 2, folder: folder.path, registries: { [registryName]: registry.url } });
    resources.defer(() => cluster.stop());
    containerd = resources.use(await Containerd.start());
  });
  afterAll(() => resources.disposeAsync());

  async function pull(node: number, repository: string, login?: string): Promise<string> {
    const { mirrorUrl } = cluster.agents[node] as ClusterAgent;
    await containerd.mirror({ registry: registryName, upstream: registry.url, mirror: mirrorUrl });
    const { tag } = repository === 'org/secret' ? secret : open;
    return await criPullImage(containerd.socket, `${registryName}/${repository}:${tag}`, { login });
  }

  async function removed(repository: string): Promise<void> {
    const { tag } = repository === 'org/secret' ? secret : open;
    await criRemoveImage(containerd.socket, `${registryName}/${repository}:${tag}`);
    await containerd.collectGarbage(namespace);
    await registry.settle();
    registry.forget();
  }

  const blobReads = (image: RunnableImage) => image.blobs.flatMap(({ digest }) => registry.blobGets(digest));

  test('18: a pull secret opens its image through the agent, which reads the registry once', async () => {
    registry.forget();
    expect(await pull(0, 'org/secret', alice)).toBe(secret.config.digest);
    await registry.settle();
    const readBytes = secret.blobs.reduce((sum, { digest }) => sum + registry.blobBytes(digest), 0);
    expect(readBytes).toBe(secret.totalBytes);
    expect(registry.userAgents()).toEqual([expect.stringMatching(/^shoal\//)]);
    await removed('org/secret');
  });

  test('on another node the same pull secret gets the layers from the first one', async () => {
    expect(await pull(1, 'org/secret', alice)).toBe(secret.config.digest);
    expect(blobReads(secret)).toEqual([]);
    await removed('org/secret');
  });

  test.for([undefined, bob, 'alice:wrong'])(
    '19: the pull secret %s opens nothing of it on either node',
    async (login) => {
      for (const node of [0, 1]) await expect(pull(node, 'org/secret', login)).rejects.toThrow();
      await registry.settle();
      expect(registry.requests.filter(({ status }) => status === 200)).toEqual([]);
    },
  );

  test('a public image needs no login, through either node, and is read once', async () => {
    registry.forget();
    expect(await pull(0, 'org/public')).toBe(open.config.digest);
    await removed('org/public');
    expect(await pull(1, 'org/public')).toBe(open.config.digest);
    expect(blobReads(open)).toEqual([]);
    await removed('org/public');
  });

  test('the same layers under a private name of another owner are for that owner, from the store', async () => {
    await expect(pull(0, 'bob/own', alice)).rejects.toThrow();
    await removed('bob/own');
    expect(await pull(0, 'bob/own', bob)).toBe(open.config.digest);
    const bytes = open.layers.reduce((sum, { digest }) => sum + registry.blobBytes(digest), 0);
    expect(bytes).toBe(0);
    await removed('bob/own');
  });

  test('19: whoever may read another repository reads nothing of the secret one through its name', async () => {
    // The layer with the shell is in both images.
    const shared = new Set(open.blobs.map(({ digest }) => digest));
    const blobs = secret.blobs.filter(({ digest }) => !shared.has(digest)).map(({ digest }) => `blobs/${digest}`);
    const objects = [...blobs, `manifests/${secret.manifest.digest}`, `manifests/${secret.index.digest}`];
    for (const { mirrorUrl } of cluster.agents) {
      for (const object of objects) {
        for (const url of [`/v2/org/public/${object}?ns=${registryName}`, `/v2/${registryName}/org/public/${object}`]) {
          for (const method of ['GET', 'HEAD']) {
            const response = await fetch(mirrorUrl + url, { method, signal: AbortSignal.timeout(requestTimeoutMs) });
            await response.body?.cancel();
            expect([401, 404], `${method} ${url}`).toContain(response.status);
          }
        }
      }
    }
  });
});
