import { type ClusterAgent, startCluster } from '@shoal/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { DockerRegistry } from '../support/daemon/docker-registry.ts';
import { buildRunnableImage, pushImage, type RunnableImage } from '../support/daemon/runnable-image.ts';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { describeSuite } from './suite.ts';

const registryName = 'registry.example';

describeSuite('skopeo', 'a registry with TLS and a certificate of its own', () => {
  const resources = new AsyncDisposableStack();
  let registry: DockerRegistry;
  let image: RunnableImage;
  let skopeo: Skopeo;
  /** The first knows the certificate, the second does not. */
  let agents: readonly ClusterAgent[];

  beforeAll(async () => {
    registry = resources.use(await DockerRegistry.start({ tls: true }));
    image = resources.use(await buildRunnableImage({ seed: 'tls' }));
    await pushImage(image, `${registry.host}/org/img`);
    const folder = resources.use(await DaemonFolder.create('nodes'));
    const settings = { registry: { [registryName]: { url: registry.url, 'ca-file': registry.certificateFile } } };
    const file = await folder.write('agent.yaml', JSON.stringify(settings));
    const cluster = await startCluster({
      nodes: 2,
      folder: folder.path,
      tracker: false,
      agentArguments: (index) => (index === 0 ? ['--config', file] : ['--registry', `${registryName}=${registry.url}`]),
    });
    resources.defer(() => cluster.stop());
    agents = cluster.agents;
    skopeo = resources.use(await Skopeo.start(agents.map(({ mirrorUrl }) => ({ registry: new URL(mirrorUrl).host }))));
  });
  afterAll(() => resources.disposeAsync());

  const copyThrough = (index: number) =>
    skopeo.copyToLayout(`${new URL(agents[index]!.mirrorUrl).host}/${registryName}/org/img:${image.tag}`);

  test('is read by an agent that is given the certificate', async () => {
    await copyThrough(0);
    for (const { digest, size } of image.blobs) expect(registry.blobBytes(digest)).toBeGreaterThanOrEqual(size);
  });

  test('is not believed by one that is not', async () => {
    await expect(copyThrough(1)).rejects.toThrow();
  });
});
