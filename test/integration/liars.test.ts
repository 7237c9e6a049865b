/**
 * Members that sign what is not so, in the middle of a flash crowd. Everybody ends with the right bytes, the liar is named
 * by its own signature and barred, and the origin is still read about once.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { HostilePeer } from '../support/hostile-peer.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
/** Pieces of a layer of this size have 256 KiB. */
const LAYER_BYTES = 12 * MiB;
const LAST_PIECE = 47;

describeWith('skopeo', 'members that lie', () => {
  let resources: AsyncDisposableStack;
  let origin: FaultOrigin;
  let cluster: ShoalCluster;
  let image: ImageFixture;

  async function start(nodes: number): Promise<void> {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(await ShoalCluster.start({ origin, nodes }));
    image = await buildImage({ seed: 'liars', repository: 'org/img', layers: [LAYER_BYTES] });
    origin.add(image);
  }
  beforeEach(() => {
    resources = new AsyncDisposableStack();
  });
  afterEach(() => resources.disposeAsync());

  async function joinLiar(): Promise<HostilePeer> {
    const joinToken = await cluster.tracker.joinToken();
    const layer = image.layers[0]!;
    return resources.use(
      await HostilePeer.join({ url: cluster.tracker.url, joinToken }, layer.content, 'signs-wrong-bytes', {
        holds: 'nothing',
      }),
    );
  }

  /** Summed over all agents. */
  async function total(metric: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const values = await Promise.all(cluster.agents.map((_, index) => cluster.metric(index, metric, labels)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  test('who lies about the end of a blob harms no reader: it is found out before that leaves', async () => {
    await start(4);
    const liar = await joinLiar();
    await liar.takeRun(LAST_PIECE);
    await Promise.all(cluster.agents.map((_, index) => cluster.pull(index, image)));
    expect(liar.requests).toBeGreaterThan(0);
    expect(await liar.isBarred()).toBe(true);
    expect(await total('shoal_audits_total', { result: 'difference' })).toBeGreaterThan(0);
    expect(await total('shoal_leases_total', { source: 'origin' })).toBeGreaterThan(1);
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(1.5 * image.totalBytes);
    for (const [index] of cluster.agents.entries()) await cluster.copy(index, image);
  });

  test('who lies about its beginning costs each reader one try, and no wrong body is ever complete', async () => {
    await start(4);
    const liar = await joinLiar();
    const taken = await liar.takeRun(0);
    await Promise.all(
      cluster.agents.map(async (_, index) => {
        await cluster.pull(index, image).catch(() => undefined);
        await cluster.pull(index, image);
      }),
    );
    expect(liar.requests).toBeGreaterThan(0);
    expect(await liar.isBarred()).toBe(true);
    expect(await total('shoal_pieces_rejected_total')).toBeGreaterThanOrEqual(taken);
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(1.5 * image.totalBytes);
    for (const [index] of cluster.agents.entries()) await cluster.copy(index, image);
  });

  test('who calls an honest member a liar is contradicted by a witness, and barred instead', async () => {
    await start(3);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 4 * MiB });
    const framer = await joinLiar();
    const pulls = cluster.agents.map((_, index) => cluster.pull(index, image));
    await origin.until((stats) => stats.blobBytes > MiB);
    await framer.frame(0);
    await Promise.all(pulls);
    expect(await framer.isBarred()).toBe(true);
    expect(await total('shoal_audits_total')).toBe(0);
    // The others may join, trade and pull as before.
    const next = await buildImage({ seed: 'liars-next', repository: 'org/img', tag: 'next', layers: [MiB] });
    origin.add(next);
    for (const [index] of cluster.agents.entries()) await cluster.pull(index, next);
    for (const [index] of cluster.agents.entries()) await cluster.copy(index, image);
  });
});
