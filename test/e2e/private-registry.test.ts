import type { ClusterAgent } from '@shoal/cli';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { registryCredentials } from '../support/daemon/docker-registry.ts';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const requestTimeoutMs = 20_000;
const noCredentials = [undefined, 'shoal-test:wrong', 'nobody:test-password'];

// Three agents of one cluster in front of a registry that wants credentials. Two have none: they pass the registry's challenge
// on and serve whom the registry accepts. The open one has credentials of its own that are declared to serve every client.
describeSuite('containerd', 'a registry that wants credentials', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let first: ClusterAgent;
  let second: ClusterAgent;
  let open: ClusterAgent;
  let containerd: Containerd;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({
        seed: 'private',
        registryName: 'registry.example',
        repository: 'org/img',
        isPrivate: true,
        nodes: 3,
        withCredentials: [2],
      }),
    );
    [first, second, open] = stage.cluster.agents as [ClusterAgent, ClusterAgent, ClusterAgent];
    containerd = resources.use(await Containerd.start({ cri: false }));
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  function mirrorThrough(agent: ClusterAgent): Promise<void> {
    return containerd.mirror(stage.mirroredBy(agent));
  }

  async function pullsThrough(agent: ClusterAgent, credentials?: string): Promise<void> {
    await mirrorThrough(agent);
    await containerd.pull(stage.reference, credentials);
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
    await containerd.remove(stage.reference);
  }

  test('18: containerd logs in through the agent with its own credentials, and the registry is read once', async () => {
    await pullsThrough(first, registryCredentials);
    await stage.expectReadOnceByAgents();
  });

  test('containerd with credentials gets the layers from the neighbour on another node', async () => {
    await pullsThrough(second, registryCredentials);
    await stage.expectServedFromCluster();
  });

  test.for(noCredentials)(
    '19: containerd with %s gets nothing, although both agents hold the image',
    async (credentials) => {
      for (const agent of [first, second]) {
        await mirrorThrough(agent);
        const { code } = await containerd.tryPull(stage.reference, credentials);
        expect(code).not.toBe(0);
      }
      await stage.registry.settle();
      expect(stage.registry.requests.filter(({ status }) => status === 200)).toEqual([]);
    },
  );

  test.for(noCredentials)('19: nothing is given out by digest, range or HEAD to %s', async (credentials) => {
    const { registryName, repository, image } = stage;
    const authorization = `Basic ${Buffer.from(credentials ?? '').toString('base64')}`;
    const objects = [...image.blobs.map(({ digest }) => `blobs/${digest}`), `manifests/${image.manifest.digest}`];
    const paths = [...objects, `manifests/${image.tag}`, 'tags/list', `referrers/${image.manifest.digest}`];
    for (const { mirrorUrl } of [first, second]) {
      for (const path of paths) {
        const addressed = [`/v2/${repository}/${path}?ns=${registryName}`, `/v2/${registryName}/${repository}/${path}`];
        for (const url of addressed) {
          for (const range of [undefined, 'bytes=0-', 'bytes=1-2']) {
            for (const method of ['GET', 'HEAD']) {
              const response = await fetch(mirrorUrl + url, {
                method,
                headers: {
                  ...(credentials === undefined ? {} : { authorization }),
                  ...(range === undefined ? {} : { range }),
                },
                signal: AbortSignal.timeout(requestTimeoutMs),
              });
              await response.body?.cancel();
              expect([401, 404], `${method} ${url}`).toContain(response.status);
            }
          }
        }
      }
    }
  });

  test('an agent whose credentials are open to its clients serves a containerd without any', async () => {
    await pullsThrough(open);
    await stage.expectServedFromCluster();
  });

  test('skopeo with credentials gets the image, past an agent whose challenge it does not follow', async () => {
    const { registry, registryName, repository, image } = stage;
    const mirror = `${new URL(first.mirrorUrl).host}/${registryName}`;
    await using skopeo = await Skopeo.start([{ registry: registry.host, mirror }]);
    await skopeo.copyToLayout(`${registry.host}/${repository}:${image.tag}`, registryCredentials);
    await registry.settle();
    for (const { digest } of image.layers) expect(registry.blobGets(digest)).not.toEqual([]);
  });

  test('while the registry is down, whom it accepted before is served, and nobody else', async () => {
    await pullsThrough(first, registryCredentials);
    await stage.registry.stop();
    await pullsThrough(first, registryCredentials);
    await mirrorThrough(first);
    for (const credentials of noCredentials) {
      expect((await containerd.tryPull(stage.reference, credentials)).code).not.toBe(0);
    }
  });
});
