/** Clients that go away and agents that die with kill -9 in the middle of a pull. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;

describeWith('skopeo', 'pulls that are interrupted', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let cluster: ShoalCluster;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(await ShoalCluster.start({ origin, tracker: false }));
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => {
    origin.clearFaults();
    origin.resetStats();
  });

  let images = 0;
  async function newImage(...layers: number[]): Promise<ImageFixture> {
    const seed = `interruption-${images++}`;
    const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers });
    origin.add(image);
    return image;
  }

  /** Every committed file hashes to its name. */
  async function expectStoreRight(): Promise<string[]> {
    const folder = join(cluster.agent(0).dataFolder, 'blobs', 'sha256');
    const names = await readdir(folder);
    for (const name of names) {
      expect(
        createHash('sha256')
          .update(await readFile(join(folder, name)))
          .digest('hex'),
      ).toBe(name.split('@')[0]);
    }
    return names.map((name) => `sha256:${name.split('@')[0]}`);
  }

  test('an agent killed with -9 in the middle of a pull resumes it', async () => {
    const image = await newImage(MiB, 32 * MiB);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 16 * MiB });
    const broken = cluster.copy(0, image);
    broken.catch(() => undefined);
    await origin.until((stats) => stats.blobBytes > 20 * MiB);
    await cluster.agent(0).kill('SIGKILL');
    await expect(broken).rejects.toThrow();
    await expectStoreRight();
    origin.resetStats();
    await cluster.agent(0).restart();
    await cluster.copy(0, image);
    expect(origin.stats().blobBytes).toBeLessThan(image.totalBytes - 12 * MiB);
    expect(await expectStoreRight()).toEqual(expect.arrayContaining(image.blobs.map(({ digest }) => digest)));
  });

  test('killed with -9 again and again, it ends up with the image and nothing else', async () => {
    const image = await newImage(24 * MiB, 2 * MiB, 2 * MiB);
    const slow = origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 16 * MiB });
    for (const killAtBytes of [MiB, 3 * MiB, 7 * MiB]) {
      origin.resetStats();
      const broken = cluster.copy(0, image);
      broken.catch(() => undefined);
      await origin.until((stats) => stats.blobBytes > killAtBytes);
      await cluster.agent(0).kill('SIGKILL');
      await expect(broken).rejects.toThrow();
      await cluster.agent(0).restart();
      await expectStoreRight();
    }
    slow.remove();
    await cluster.copy(0, image);
    expect(await expectStoreRight()).toEqual(expect.arrayContaining(image.blobs.map(({ digest }) => digest)));
  });

  test('clients that abort harm nobody: another one gets the image, and the origin is read once', async () => {
    const image = await newImage(24 * MiB);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 12 * MiB });
    const aborting = new AbortController();
    const onBytes = (receivedBytes: number): void => {
      if (receivedBytes > 4 * MiB) aborting.abort(new Error('enough'));
    };
    const copy = cluster.copy(0, image);
    const aborted = [1, 2, 3].map(() => cluster.pull(0, image, { onBytes, signal: aborting.signal }));
    for (const outcome of await Promise.allSettled(aborted)) expect(outcome.status).toBe('rejected');
    await copy;
    expect(origin.stats().blobBytes).toBe(image.totalBytes);
  });

  test('a client that aborts and comes back goes on where the agent is', async () => {
    const image = await newImage(24 * MiB);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 12 * MiB });
    const aborting = new AbortController();
    const onBytes = (receivedBytes: number): void => {
      if (receivedBytes > 4 * MiB) aborting.abort(new Error('enough'));
    };
    await expect(cluster.pull(0, image, { onBytes, signal: aborting.signal })).rejects.toThrow();
    await cluster.copy(0, image);
    expect(origin.stats().blobBytes).toBe(image.totalBytes);
    expect(await cluster.metric(0, 'shoal_pulls_open')).toBe(0);
  });
});
