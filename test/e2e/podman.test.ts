import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Podman } from '../support/daemon/podman.ts';
import { regularFiles } from '../support/daemon/root-file-system.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

describeSuite('podman', 'podman', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let podman: Podman;

  beforeAll(async () => {
    stage = resources.use(await Stage.set({ seed: 'podman', registryName: 'registry.example', repository: 'org/img' }));
    const { registryName, registry, mirrorHost } = stage;
    podman = resources.use(
      await Podman.start([
        { registry: mirrorHost },
        { registry: registryName, location: registry.host, mirror: `${mirrorHost}/${registryName}` },
      ]),
    );
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test("pulls a name with the agent's address and the registry in front, and every file is right", async () => {
    await podman.pull(stage.prefixedReference);
    await stage.expectReadOnceByAgents();
    const root = await podman.mountImage(stage.prefixedReference);
    expect(await regularFiles(root)).toEqual(stage.image.files);
    await podman.unmountImage(stage.prefixedReference);
    await podman.remove(stage.prefixedReference);
  });

  test('pulls through the agent as the mirror in registries.conf and runs the image', async () => {
    await podman.pull(stage.reference);
    await stage.expectServedFromCluster();
    expect(await podman.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
    await podman.remove(stage.reference);
  });

  test('pulls from the registry when the agent is dead', async () => {
    await stage.agent.kill();
    await podman.pull(stage.reference);
    await stage.expectReadDirectly();
    expect(await podman.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });
});
