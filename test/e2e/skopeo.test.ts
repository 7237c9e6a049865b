import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

describeSuite('skopeo', 'skopeo', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let skopeo: Skopeo;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({ seed: 'skopeo', registryName: 'registry.example', repository: 'org/img', tracker: false }),
    );
    const { registryName, registry, mirrorHost } = stage;
    skopeo = resources.use(
      await Skopeo.start([
        { registry: mirrorHost },
        { registry: registryName, location: registry.host, mirror: `${mirrorHost}/${registryName}` },
      ]),
    );
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test("copies a name with the agent's address and the registry in front, and every blob is right", async () => {
    const layout = await skopeo.copyToLayout(stage.prefixedReference);
    await stage.expectReadOnceByAgents();
    await expectWholeCopy(layout);
  });

  test('copies through the agent as the mirror in registries.conf', async () => {
    const layout = await skopeo.copyToLayout(stage.reference);
    await stage.expectServedFromCluster();
    await expectWholeCopy(layout);
  });

  test('copies from the registry when the agent is dead', async () => {
    await stage.agent.kill();
    const layout = await skopeo.copyToLayout(stage.reference);
    await stage.expectReadDirectly();
    await expectWholeCopy(layout);
  });

  /** The copy holds the index, the manifest and every blob of the image, each with the content its name promises. */
  async function expectWholeCopy(layout: string): Promise<void> {
    const folder = join(layout, 'blobs', 'sha256');
    const names = await readdir(folder);
    const { index, manifest, blobs } = stage.image;
    expect(names.map((hex) => `sha256:${hex}`).sort()).toEqual([index, manifest, ...blobs].map((b) => b.digest).sort());
    for (const hex of names) {
      const content = await readFile(join(folder, hex));
      expect(createHash('sha256').update(content).digest('hex')).toBe(hex);
    }
  }
});
