import { type ClusterAgent, sumOf } from '@shoal/cli';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const nodes = 4;

// What Shoal is for: nodes that pull the same image at the same moment, each with a containerd and an agent.
describeSuite('containerd', 'a cluster of containerd nodes', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let daemons: Containerd[];

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({ seed: 'swarm', registryName: 'registry.example', repository: 'org/img', nodes }),
    );
    daemons = [];
    for (const agent of stage.cluster.agents) {
      const containerd = resources.use(await Containerd.start({ cri: false }));
      await containerd.mirror(stage.mirroredBy(agent));
      daemons.push(containerd);
    }
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test('all but one pull at once, the registry is read once, and the image runs on each', async () => {
    const early = daemons.slice(0, -1);
    await Promise.all(early.map((containerd) => containerd.pull(stage.reference)));
    await stage.expectReadOnceByAgents(early.length);
    for (const containerd of early) {
      expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
    }
  });

  test('the last node gets the image from the others, and it runs', async () => {
    const late = daemons.at(-1)!;
    await late.pull(stage.reference);
    await stage.expectServedFromCluster();
    expect(await bytesFromPeers(stage.cluster.agents.at(-1)!)).toBeGreaterThanOrEqual(stage.image.totalBytes);
    expect(await late.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);
  });

  async function bytesFromPeers(agent: ClusterAgent): Promise<number> {
    return sumOf(await agent.metrics(), 'shoal_bytes_total', { source: 'peer', direction: 'in' });
  }
});
