/** Two trackers on one Redis: whichever of them is killed or replaced, agents that pull do not notice. */
import { createLogger } from '@shoal/cli';
import { startTracker } from '@shoal/tracker';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { RedisServer } from '../support/daemon/redis-server.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { SeveralTrackers, type TrackerReplica } from '../support/several-trackers.ts';
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
        agentArguments: (index) => [
          ...trackers.agentArguments(index),
          ...['--registry', `${origin.registry}=${origin.url}`],
        ],
      }),
    );
    return { trackers, cluster };
  }

  test('the one that leads is killed in the middle of a rollout: every pull ends, nothing is read twice, bars stay', async () => {
    const { trackers, cluster } = await start(4);
    await barSomebody(trackers);
    const image = await buildImage({ seed: 'failover', repository: 'org/img', layers: [64 * MiB, 64 * MiB, 64 * MiB] });
    origin.add(image);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 3 * MiB });
    const leader = await trackers.leader();

    const copies = cluster.agents.map((_, index) => cluster.copy(index, image));
    for (const copy of copies) copy.catch(() => undefined);
    await origin.until((stats) => stats.blobBytes > image.totalBytes / 4, 60_000);
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
    expect(await next.metric('shoal_tracker_barred_members')).toBe(1);
  });

  test('trackers and agents are replaced one after the other under load: no pull is lost', async () => {
    const { trackers, cluster } = await start(3);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 6 * MiB });
    const runtimes = await Promise.all(cluster.agents.map(({ mirrorUrl }) => runtimeBehind(mirrorUrl)));
    const load = new Load(origin, runtimes);
    await load.pulledOnce();

    let changes = 0;
    for (const replica of trackers.replicas) {
      changes += await replaced(replica, trackers);
      await load.pulledOnce();
    }
    for (const agent of cluster.agents) {
      await agent.kill('SIGTERM');
      await agent.restart();
      await load.pulledOnce();
    }
    await load.stop();
    process.stderr.write(`${load.done} pulls, ${changes} changes of the leader\n`);
    expect(load.failures).toEqual([]);
    // Whichever led, it was stopped.
    expect(changes).toBeGreaterThan(0);
    for (const index of cluster.agents.keys()) {
      await expect.poll(() => cluster.metric(index, 'shoal_tracker_reachable'), { timeout: 10_000 }).toBe(1);
    }
  });

  test('a leader that hangs, and a store that is killed, fail no pull', async () => {
    const { trackers, cluster } = await start(2);
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 4 * MiB });
    const copyDuring = async (seed: string, trouble: () => Promise<void>): Promise<void> => {
      const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [24 * MiB] });
      origin.add(image);
      origin.resetStats();
      const copies = cluster.agents.map((_, index) => cluster.copy(index, image));
      for (const copy of copies) copy.catch(() => undefined);
      await origin.until((stats) => stats.blobBytes > 4 * MiB, 60_000);
      await trouble();
      await Promise.all(copies);
    };
    const leader = await trackers.leader();
    await copyDuring('hangs', async () => {
      leader.pause();
      resources.defer(() => leader.resume());
      await expect.poll(() => leadsBeside(leader, trackers), { timeout: 10_000, interval: 50 }).toBe(true);
    });
    leader.resume();
    // The one that was held up does not believe any more that it leads.
    expect(await trackers.leader()).not.toBe(leader);
    await copyDuring('store', () => redis.kill());
    await redis.restart();
    await trackers.leader();
    for (const replica of trackers.replicas) {
      await expect.poll(() => replica.readiness(), { timeout: 10_000 }).toBe(200);
    }
  });

  async function leadsBeside(leader: TrackerReplica, trackers: SeveralTrackers): Promise<boolean> {
    const others = trackers.replicas.filter((replica) => replica !== leader);
    const leading = await Promise.all(others.map((replica) => replica.metric('shoal_tracker_leading')));
    return leading.includes(1);
  }

  /** A member that never was, by a tracker that leads while the others do not run. */
  async function barSomebody(trackers: SeveralTrackers): Promise<void> {
    for (const replica of trackers.replicas) await replica.stop();
    const options = { listen: { host: '127.0.0.1', port: 0 }, store: redis.url };
    const folders = { dataDir: `${trackers.identityFolder}/data-bar`, identityDir: trackers.identityFolder };
    const tracker = await startTracker({ ...options, ...folders }, { logger, clock: Date.now, random: Math.random });
    await tracker.bar('12D3KooWNobody', 'a test');
    await tracker.close();
    for (const replica of trackers.replicas) await replica.start();
  }

  /** Stops and starts it; gives how often the leader changed. */
  async function replaced(replica: TrackerReplica, trackers: SeveralTrackers): Promise<number> {
    const before = await trackers.leader();
    await replica.stop();
    const after = await trackers.leader();
    await replica.start();
    await expect.poll(() => replica.readiness(), { timeout: 10_000 }).toBe(200);
    return before === after ? 0 : 1;
  }

  async function runtimeBehind(mirror: string): Promise<Containerd> {
    const containerd = resources.use(await Containerd.start());
    await containerd.mirror({ registry: origin.registry, upstream: origin.url, mirror });
    return containerd;
  }
});

/** Runtimes that pull one new image after the other, the same ones, until it is stopped. */
class Load {
  readonly failures: string[] = [];
  done = 0;
  readonly #origin: FaultOrigin;
  readonly #images: Promise<ImageFixture>[] = [];
  readonly #loops: Promise<void>[];
  readonly #turns: number[];
  #stopped = false;

  constructor(origin: FaultOrigin, runtimes: readonly Containerd[]) {
    this.#origin = origin;
    this.#turns = runtimes.map(() => 0);
    this.#loops = runtimes.map((runtime, index) => this.#run(runtime, index));
  }

  /** Resolves when every runtime has begun and ended a pull since. */
  async pulledOnce(): Promise<void> {
    const before = [...this.#turns];
    await expect
      .poll(() => this.#turns.every((turn, index) => turn >= before[index]! + 2), { timeout: 60_000, interval: 50 })
      .toBe(true);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #run(runtime: Containerd, index: number): Promise<void> {
    while (!this.#stopped) {
      const turn = this.#turns[index]!;
      const { repository, tag } = await this.#image(turn);
      const reference = `${this.#origin.registry}/${repository}:${tag}`;
      const { code, stderr } = await runtime.tryPull(reference);
      if (code === 0) this.done++;
      else this.failures.push(`${reference}: ${stderr}`);
      this.#turns[index] = turn + 1;
    }
  }

  #image(turn: number): Promise<ImageFixture> {
    const layers = [{ tarGzBytes: 3 * MiB }, { tarGzBytes: 3 * MiB }];
    this.#images[turn] ??= buildImage({ seed: `load-${turn}`, repository: 'org/load', tag: `v${turn}`, layers }).then(
      (image) => {
        this.#origin.add(image);
        return image;
      },
    );
    return this.#images[turn];
  }
}
