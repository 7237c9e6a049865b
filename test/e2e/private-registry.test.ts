import type { ClusterAgent } from '@shoal/cli';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { registryCredentials } from '../support/daemon/docker-registry.ts';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const requestTimeoutMs = 20_000;

// Two agents of one cluster in front of a registry that wants credentials. The trusted one has credentials in its
// configuration. The plain one has none and must not give out what it could get from the other: it answers 404, and
// whoever has credentials goes to the registry itself.
describeSuite('containerd', 'a registry that wants credentials', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let plain: ClusterAgent;
  let trusted: ClusterAgent;
  let containerd: Containerd;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({
        seed: 'private',
        registryName: 'registry.example',
        repository: 'org/img',
        isPrivate: true,
        nodes: 2,
        withCredentials: [1],
      }),
    );
    [plain, trusted] = stage.cluster.agents as [ClusterAgent, ClusterAgent];
    containerd = resources.use(await Containerd.start({ cri: false }));
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  function mirrorThrough(agent: ClusterAgent): Promise<void> {
    return containerd.mirror({
      registry: stage.registryName,
      upstream: stage.registry.url,
      mirror: agent.mirrorUrl,
    });
  }

  test('an agent with credentials of its own reads the image once for a containerd without any', async () => {
    await mirrorThrough(trusted);
    await containerd.pull(stage.reference);
    await stage.expectReadOnceByAgents();
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
    await containerd.remove(stage.reference);
  });

  test.for([undefined, 'shoal-test:wrong'])(
    'through an agent without credentials, containerd with %s gets nothing',
    async (credentials) => {
      await mirrorThrough(plain);
      const { code } = await containerd.tryPull(stage.reference, credentials);
      expect(code).not.toBe(0);
      await stage.registry.settle();
      expect(stage.registry.requests.filter(({ status }) => status === 200)).toEqual([]);
    },
  );

  test('an agent without credentials gives out nothing by digest, although its neighbour holds it', async () => {
    const { registryName, repository, image } = stage;
    const paths = [...image.blobs.map(({ digest }) => `blobs/${digest}`), `manifests/${image.manifest.digest}`];
    for (const path of paths) {
      const url = `${plain.mirrorUrl}/v2/${repository}/${path}?ns=${registryName}`;
      const response = await fetch(url, { signal: AbortSignal.timeout(requestTimeoutMs) });
      await response.body?.cancel();
      expect([401, 404], path).toContain(response.status);
    }
  });

  test('containerd with credentials gets the image past an agent without', async () => {
    await mirrorThrough(plain);
    await containerd.pull(stage.reference, registryCredentials);
    await stage.registry.settle();
    for (const { digest } of stage.image.layers) expect(stage.registry.blobGets(digest)).not.toEqual([]);
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });

  test('skopeo with credentials gets the image past an agent without', async () => {
    const { registry, registryName, repository, image } = stage;
    const mirror = `${new URL(plain.mirrorUrl).host}/${registryName}`;
    await using skopeo = await Skopeo.start([{ registry: registry.host, mirror }]);
    await skopeo.copyToLayout(`${registry.host}/${repository}:${image.tag}`, registryCredentials);
    await registry.settle();
    for (const { digest } of image.layers) expect(registry.blobGets(digest)).not.toEqual([]);
  });
});
