/** Two trackers on one Redis: whichever of them is killed or replaced, agents that pull do not notice. */
import { createLogger } from '@shoal/cli';
import { startTracker } from '@shoal/tracker';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { RedisServer } from '../support/daemon/redis-server.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage } from '../support/image-fixture.ts';
import { SeveralTrackers } from '../support/several-trackers.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeSuite } from './suite.ts';

const MiB = 1024 * 1024;
const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);

describeSuite('redis', 'several trackers on one Redis', () => {
  let resources: AsyncDisposableStack;
  let redis: RedisServer;
  let origin: FaultOrigin;

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    redis = resources.use(await RedisServer.start({ password: 'test-password' }));
    origin = resources.use(await FaultOrigin.start());
  });
  afterEach(() => resources.disposeAsync());

  async function start(nodes: number): Promise<{ trackers: SeveralTrackers; cluster: ShoalCluster }> {
    const trackers = resources.use(await SeveralTrackers.start({ store: redis.url }));
    const cluster = resources.use(
      await ShoalCluster.start({
        origin,
        nodes,
        tracker: false,
        agentArguments: (index) => trackers.agentArguments(index),
      }),
    );
    return { trackers, cluster };
  }

  test('the one that leads is killed in the middle of a rollout: every pull ends, nothing is read twice, bars stay', async () => {
    const { trackers, cluster } = await start(4);
    const image = await buildImage({ seed: 'failover', repository: 'org/img', layers: [64 * MiB, 64 * MiB, 64 * MiB] });
    origin.add(image);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 3 * MiB });
    const leader = await trackers.leader();

    const copies = cluster.agents.map((_, index) => cluster.copy(index, image));
    for (const copy of copies) copy.catch(() => undefined);
    await origin.until((stats) => stats.blobBytes > image.totalBytes / 3);
    await leader.kill();
    const killedAtMs = performance.now();
    const next = await trackers.leader();
    const tookOverMs = performance.now() - killedAtMs;
    const { blobBytes: bytesThen } = origin.stats();
    expect(next).not.toBe(leader);
    expect(bytesThen).toBeLessThan(image.totalBytes);
    await Promise.all(copies);

    const { blobBytes } = origin.stats();
    process.stderr.write(
      `took over in ${Math.round(tookOverMs)} ms, ${(blobBytes / image.totalBytes).toFixed(4)} × the image read\n`,
    );
    expect(blobBytes).toBeLessThanOrEqual(1.02 * image.totalBytes);
    expect(await next.metric('shoal_tracker_takeovers')).toBe(1);
    for (const { logs } of cluster.agents) expect(logs).toBeDefined();
  });
});
