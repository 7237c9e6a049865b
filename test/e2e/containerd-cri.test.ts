import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { criPullImage, criRemoveImage } from '../support/daemon/cri.ts';
import { CONTAINERD_STARTS_WITHIN_MS, containerds } from './containerds.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const namespace = 'k8s.io';

// The kubelet's way in. The registry's name carries a port here, so `?ns=` arrives percent-encoded.
for (const { version, programs } of containerds)
  describeSuite('containerd-cri', `the CRI of containerd ${version}, by registry.config_path`, () => {
    const resources = new AsyncDisposableStack();
    let stage: Stage;
    let containerd: Containerd;

    beforeAll(async () => {
      stage = resources.use(await Stage.set({ seed: 'cri', repository: 'org/img' }));
      containerd = resources.use(await Containerd.start(await programs()));
      await containerd.mirror(stage.mirroredBy());
    }, CONTAINERD_STARTS_WITHIN_MS);
    afterAll(() => resources.disposeAsync());
    beforeEach(() => stage.startCount());

    test('PullImage goes through the agent, which reads the registry once, and the image runs', async () => {
      expect(await criPullImage(containerd.socket, stage.reference)).toBe(stage.image.config.digest);
      await stage.expectReadOnceByAgents();
      expect(await containerd.runContainer(stage.reference, namespace)).toBe(`${stage.image.expectedLine}\n`);
    });

    test('PullImage goes to the registry when the agent is dead', async () => {
      await criRemoveImage(containerd.socket, stage.reference);
      await containerd.collectGarbage(namespace);
      await stage.agent.kill();
      expect(await criPullImage(containerd.socket, stage.reference)).toBe(stage.image.config.digest);
      await stage.expectReadDirectly();
      expect(await containerd.runContainer(stage.reference, namespace)).toBe(`${stage.image.expectedLine}\n`);
    });
  });
