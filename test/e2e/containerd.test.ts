import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

describeSuite('containerd', 'containerd, by ctr and hosts.toml', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let containerd: Containerd;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({ seed: 'containerd', registryName: 'registry.example', repository: 'org/team/img' }),
    );
    containerd = resources.use(await Containerd.start({ cri: false }));
    await containerd.mirror(stage.mirroredBy());
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test('pulls through the agent, which reads the registry once, and runs the image', async () => {
    await containerd.pull(stage.reference);
    await stage.expectReadOnceByAgents();
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });

  test('pulls a removed image again from what the agent holds', async () => {
    await containerd.remove(stage.reference);
    await containerd.pull(stage.reference);
    await stage.expectServedFromCluster();
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });

  test('pulls from the registry when the agent is dead', async () => {
    await containerd.remove(stage.reference);
    await stage.agent.kill();
    await containerd.pull(stage.reference);
    await stage.expectReadDirectly();
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });
});
