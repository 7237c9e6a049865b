/** An agent is told to stop while a real containerd pulls through it. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const MiB = 1024 * 1024;
const underWay = { timeout: 30_000, interval: 20 };

describeSuite('containerd', 'an agent that is told to stop while containerd pulls', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let containerd: Containerd;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({
        seed: 'drain',
        registryName: 'registry.example',
        repository: 'org/img',
        // The image takes six seconds, so that it is still in the middle of its layers when it is told.
        moreArguments: ['--download-rate', '4MiB', '--drain-timeout', '60s'],
      }),
    );
    containerd = resources.use(await Containerd.start({ cri: false }));
    await containerd.mirror(stage.mirroredBy());
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  test('the pull ends well, and no byte of a layer is read twice from the registry', async () => {
    const pull = containerd.pull(stage.reference);
    await expect.poll(() => stage.servedBytes(), underWay).toBeGreaterThanOrEqual(8 * MiB);
    const stopped = stage.agent.kill('SIGTERM');
    await Promise.all([pull, stopped]);
    expect(await containerd.runContainer(stage.reference)).toBe(`${stage.image.expectedLine}\n`);

    const { registry, image } = stage;
    await registry.settle();
    // Whoever read a layer, the agent what was under way or containerd itself what was not yet begun: all of it, and once.
    for (const { digest, size } of image.layers) expect(registry.blobBytes(digest), digest).toBe(size);
    const byAgent = image.layers.filter(({ digest }) =>
      registry.blobGets(digest).every(({ userAgent }) => userAgent.startsWith('shoal/')),
    );
    expect(Math.max(...byAgent.map(({ size }) => size))).toBeGreaterThan(8 * MiB);
    expect(stage.agent.logs()).toContain('nothing is under way any more');
    expect(stage.agent.logs()).not.toContain('requests were cut off');
  });
});
