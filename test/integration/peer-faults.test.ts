/** Members that go wrong in the middle of a pull. The pull completes, and the origin is read about once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { HostilePeer, type Misbehaviour } from '../support/hostile-peer.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;

describeWith('skopeo', 'peers that go wrong', () => {
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
  async function newImage(layerBytes: number): Promise<ImageFixture> {
    const seed = `peer-faults-${images++}`;
    const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [layerBytes] });
    origin.add(image);
    return image;
  }

  /** By the origin, of this image alone. */
  function bytesSent(image: ImageFixture): number {
    const { byDigest } = origin.stats();
    return image.blobs.reduce((sum, { digest }) => sum + (byDigest[digest]?.bytes ?? 0), 0);
  }

  async function joinHostile(image: ImageFixture, misbehaviour: Misbehaviour): Promise<HostilePeer> {
    const { url } = cluster.tracker;
    const joinToken = await cluster.tracker.joinToken();
    return HostilePeer.join({ url, joinToken }, image.layers[0]!.content, misbehaviour);
  }

  test('a member that behaves is believed: the origin sends no layer byte', async () => {
    const image = await newImage(8 * MiB);
    await using peer = await joinHostile(image, 'none');
    await cluster.copy(0, image);
    expect(peer.requests).toBeGreaterThan(0);
    expect(bytesSent(image)).toBe(image.config.sizeBytes);
  });

  const faults: Misbehaviour[] = ['never-answers', 'stops-mid-piece', 'dies-mid-piece', 'wrong-bytes'];
  test.each(faults)(
    'with a member that claims to hold the layer and %s, skopeo gets the image',
    async (misbehaviour) => {
      const image = await newImage(8 * MiB);
      await using peer = await joinHostile(image, misbehaviour);
      await cluster.copy(0, image);
      expect(peer.requests).toBeGreaterThan(0);
      expect(bytesSent(image)).toBeLessThanOrEqual(1.5 * image.totalBytes);
      const rejected = await cluster.metric(0, 'shoal_pieces_rejected_total', { reason: 'corrupt' });
      expect(rejected > 0).toBe(misbehaviour === 'wrong-bytes');
      // What was kept is right, and so is what the other agent gets of it.
      await cluster.copy(1, image);
    },
  );

  test('a member that signs wrong bytes breaks one pull at most: it is found out, and nobody else believes it', async () => {
    const image = await newImage(8 * MiB);
    await using peer = await joinHostile(image, 'signs-wrong-bytes');
    await cluster.copy(0, image).catch(() => undefined);
    expect(peer.requests).toBeGreaterThan(0);
    expect(await cluster.metric(0, 'shoal_pieces_rejected_total', { reason: 'mismatch' })).toBeGreaterThan(0);
    await cluster.copy(0, image);
    await cluster.copy(1, image);
    expect(bytesSent(image)).toBeLessThanOrEqual(1.5 * image.totalBytes);
  });

  test('an agent that freezes while it holds the image is replaced by the origin', async () => {
    const image = await newImage(8 * MiB);
    await cluster.copy(0, image);
    const pid = cluster.agent(0).pid!;
    process.kill(pid, 'SIGSTOP');
    try {
      await cluster.copy(1, image);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(bytesSent(image)).toBeLessThanOrEqual(2.2 * image.totalBytes);
  });

  test('4: an agent killed while it reads the origin for another one is replaced in the middle of the body', async () => {
    const image = await newImage(24 * MiB);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 8 * MiB });
    const first = cluster.pull(0, image).catch((error: unknown) => error);
    await origin.until((stats) => stats.blobBytes > 2 * MiB);
    const fromPeersBefore = await cluster.bytes(1, 'peer');
    const second = cluster.copy(1, image);
    second.catch(() => undefined);
    while ((await cluster.bytes(1, 'peer')) - fromPeersBefore < 4 * MiB) await sleep(50);
    await cluster.agent(0).kill('SIGKILL');
    expect(await first).toBeInstanceOf(Error);
    await second;
    expect(bytesSent(image)).toBeLessThanOrEqual(1.5 * image.totalBytes);
    await cluster.agent(0).restart();
    await cluster.copy(0, image);
  });
});
