import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { registryCredentials } from '../support/daemon/docker-registry.ts';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const requestTimeoutMs = 10_000;

// Private stays private: what an agent holds is served to those alone whom the registry would serve.
describeSuite('containerd', 'a registry that wants credentials', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let containerd: Containerd;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({ seed: 'private', registryName: 'registry.example', repository: 'org/img', isPrivate: true }),
    );
    containerd = resources.use(await Containerd.start({ cri: false }));
    await containerd.mirror({
      registry: stage.registryName,
      upstream: stage.registry.url,
      mirror: stage.agent.mirror,
    });
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.registry.forget());

  test("containerd answers the registry's challenge through the agent, which reads the image once", async () => {
    await containerd.pull(stage.reference, registryCredentials);
    await stage.expectReadOnceByAgent();
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
    await containerd.remove(stage.reference);
  });

  test('containerd gets the image again with credentials from what the agent holds', async () => {
    await containerd.pull(stage.reference, registryCredentials);
    await stage.expectNoBlobRead();
    await containerd.remove(stage.reference);
  });

  test.for([undefined, 'shoal-test:wrong'])('containerd gets nothing with the credentials %s', async (credentials) => {
    const { code } = await containerd.tryPull(stage.reference, credentials);
    expect(code).not.toBe(0);
    await stage.registry.settle();
    expect(stage.registry.requests.filter(({ status }) => status === 200)).toEqual([]);
  });

  test('nobody gets a blob or a manifest by its digest without credentials', async () => {
    const { registryName, repository, image } = stage;
    const paths = [...image.blobs.map(({ digest }) => `blobs/${digest}`), `manifests/${image.manifest.digest}`];
    for (const path of paths) {
      const url = `${stage.agent.mirror}/v2/${repository}/${path}?ns=${registryName}`;
      const response = await fetch(url, { signal: AbortSignal.timeout(requestTimeoutMs) });
      await response.body?.cancel();
      expect([401, 404], path).toContain(response.status);
    }
  });

  // Skopeo and podman answer only a challenge of `GET /v2/`, which a mirror of many registries has no reason to make.
  test('skopeo, which has no credentials for mirrors, gets the image from the registry itself', async () => {
    const { agent, registry, registryName, repository, image } = stage;
    const mirror = `${agent.mirrorHost}/${registryName}`;
    await using skopeo = await Skopeo.start([{ registry: registry.host, mirror }]);
    await skopeo.copyToLayout(`${registry.host}/${repository}:${image.tag}`, registryCredentials);
    await registry.settle();
    for (const { digest } of image.layers) expect(registry.blobGets(digest)).not.toEqual([]);
  });
});
