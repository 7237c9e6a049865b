/** Agents whose tracker is away: before they start, before a pull and in the middle of one. */
import { formatJoinToken } from '@shoal/wire';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;

describeWith('skopeo', 'a tracker that is away', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let cluster: ShoalCluster;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(await ShoalCluster.start({ origin, nodes: 2 }));
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => {
    origin.clearFaults();
    origin.resetStats();
  });

  let images = 0;
  async function newImage(layerBytes = 8 * MiB): Promise<ImageFixture> {
    const seed = `tracker-faults-${images++}`;
    const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [layerBytes] });
    origin.add(image);
    return image;
  }

  async function trackerReachable(index: number, reachable: boolean): Promise<void> {
    await expect
      .poll(() => cluster.metric(index, 'shoal_tracker_reachable'), { timeout: 30_000, interval: 100 })
      .toBe(reachable ? 1 : 0);
  }

  test('killed in the middle of a pull, it is not missed', async () => {
    const image = await newImage(16 * MiB);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 8 * MiB });
    const copies = [cluster.copy(0, image), cluster.copy(1, image)];
    for (const copy of copies) copy.catch(() => undefined);
    await origin.until((stats) => stats.blobBytes > 4 * MiB);
    await cluster.tracker.kill('SIGKILL');
    await Promise.all(copies);
    // Without it nobody says who reads the origin, so both may go there for what the other does not hold yet.
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(2 * image.totalBytes);
  });

  test('gone before a pull, agents that know each other still share what one of them holds', async () => {
    expect(cluster.tracker.pid).toBeUndefined();
    const image = await newImage();
    await cluster.copy(0, image);
    const { blobBytes } = origin.stats();
    await cluster.copy(1, image);
    expect(blobBytes).toBe(image.totalBytes);
    // On a busy machine it may go to the origin before the other spoke up, and stops there when it does.
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(1.3 * image.totalBytes);
  });

  test('an agent that restarts while it is away pulls, and finds the others it knew', async () => {
    expect(cluster.tracker.pid).toBeUndefined();
    const image = await newImage();
    await cluster.copy(0, image);
    await cluster.agent(1).restart();
    await expect.poll(() => cluster.metric(1, 'shoal_peers'), { timeout: 30_000, interval: 100 }).toBe(1);
    origin.resetStats();
    await cluster.copy(1, image);
    expect(origin.stats().blobBytes).toBe(0);
  });

  test('back again, it is told everything anew, and its silence harms nobody', async () => {
    await cluster.tracker.restart();
    await Promise.all([trackerReachable(0, true), trackerReachable(1, true)]);
    const image = await newImage();
    await cluster.copy(0, image);
    const pid = cluster.tracker.pid!;
    process.kill(pid, 'SIGSTOP');
    try {
      const other = await newImage();
      await cluster.copy(1, other);
      await cluster.copy(1, image);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await trackerReachable(1, true);
  });

  test('an agent whose tracker was never there pulls from the origin', async () => {
    const joinToken = formatJoinToken({ pin: 'A'.repeat(43), secret: 'A'.repeat(43) });
    const agentArguments = (): string[] => ['--tracker', 'https://127.0.0.1:1', '--join-token', joinToken];
    await using alone = await ShoalCluster.start({ origin, tracker: false, agentArguments });
    const image = await newImage();
    await alone.copy(0, image);
    expect(origin.stats().blobBytes).toBe(image.totalBytes);
    expect(await alone.metric(0, 'shoal_tracker_reachable')).toBe(0);
  });
});
