import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Dockerd } from '../support/daemon/dockerd.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const name = 'shoal-e2e';

describeSuite('dockerd', 'dockerd', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let dockerd: Dockerd;
  let shortReference: string;

  beforeAll(async () => {
    // Registry mirrors serve docker.io alone, and what is tried after the last of them is the real Docker Hub. The
    // registry itself stands last in the list instead: the same rule, on loopback.
    stage = resources.use(
      await Stage.set({ seed: 'dockerd', registryName: 'docker.io', repository: `library/${name}` }),
    );
    dockerd = resources.use(await Dockerd.start({ registryMirrors: [stage.agent.mirrorUrl, stage.registry.url] }));
    shortReference = `${name}:${stage.image.tag}`;
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test('pulls a short name through the agent as its registry mirror and runs the image', async () => {
    await dockerd.pull(shortReference);
    await stage.expectReadOnceByAgents();
    expect(await dockerd.runContainer(shortReference)).toBe(`${stage.image.expectedLine}\n`);
    await dockerd.remove(shortReference);
  });

  test("pulls a name with the agent's address and the registry in front, from what the agent holds", async () => {
    await dockerd.pull(stage.prefixedReference);
    await stage.expectServedFromCluster();
    expect(await dockerd.runContainer(stage.prefixedReference)).toBe(`${stage.image.expectedLine}\n`);
    await dockerd.remove(stage.prefixedReference);
  });

  test('pulls from the next place in its list when the agent is dead', async () => {
    await stage.agent.kill();
    await dockerd.pull(shortReference);
    await stage.expectReadDirectly();
    expect(await dockerd.runContainer(shortReference)).toBe(`${stage.image.expectedLine}\n`);
  });
});
