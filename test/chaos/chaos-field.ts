/** The cluster that is hurt: hosts on shaped links, a registry with the images, a tracker, nodes. */
import { mkdir } from 'node:fs/promises';
import { type ReadyDaemon, startTracker, type TrackerAddress } from '../../bench/rig/daemons.ts';
import { inLanes } from '../../bench/rig/lanes.ts';
import { removeLeftovers } from '../../bench/rig/leftovers.ts';
import { RigName } from '../../bench/rig/rig-name.ts';
import { type Host, RigNetwork } from '../../bench/rig/rig-network.ts';
import { RegistryDaemon } from '../../bench/rollout/registry.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt } from '../support/daemon/process.ts';
import { ChaosDaemon } from './chaos-daemon.ts';
import { ChaosNode } from './chaos-node.ts';
import { ChaosOrigin } from './chaos-origin.ts';
import { nodePlace } from './fault.ts';
import { type ImageSet, pushImages } from './image-set.ts';

const LINK_BITS_PER_SECOND = 100e6;

export class ChaosField implements AsyncDisposable {
  readonly network: RigNetwork;
  readonly origin: ChaosOrigin;
  readonly tracker: ChaosDaemon<TrackerAddress>;
  readonly nodes: readonly ChaosNode[];
  readonly images: ImageSet;
  readonly #hosts: readonly Host[];
  readonly #daemons: AsyncDisposableStack;
  readonly #ground: AsyncDisposableStack;

  private constructor(parts: Parts, daemons: AsyncDisposableStack, ground: AsyncDisposableStack) {
    this.network = parts.network;
    this.origin = parts.origin;
    this.tracker = parts.tracker;
    this.nodes = parts.nodes;
    this.images = parts.images;
    this.#hosts = parts.hosts;
    this.#daemons = daemons;
    this.#ground = ground;
  }

  /** @throws when something does not get ready; nothing is left then */
  static async prepare(nodeCount: number, signal: AbortSignal): Promise<ChaosField> {
    await removeLeftovers();
    await using ground = new AsyncDisposableStack();
    const folder = ground.use(await DaemonFolder.create('chaos'));
    const registryFolder = folder.join('registry');
    const trackerFolder = folder.join('tracker');
    for (const path of [registryFolder, trackerFolder]) await mkdir(path);
    const network = ground.use(await RigNetwork.create(RigName.ofThisProcess(), 'cubic'));
    const hosts = {
      origin: await network.attach('origin', LINK_BITS_PER_SECOND),
      tracker: await network.attach('tracker', LINK_BITS_PER_SECOND),
      nodes: [] as Host[],
    };
    for (let index = 0; index < nodeCount; index++) {
      hosts.nodes.push(await network.attach(nodePlace(index), LINK_BITS_PER_SECOND));
    }
    await using daemons = new AsyncDisposableStack();
    const origin = daemons.use(new ChaosOrigin(hosts.origin, registryFolder));
    const tracker = daemons.use(
      new ChaosDaemon(
        (): ReadyDaemon<TrackerAddress> => startTracker({ host: hosts.tracker, dataFolder: trackerFolder }),
      ),
    );
    const address = await tracker.start(signal);
    const nodes: ChaosNode[] = [];
    daemons.defer(async () => void (await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))));
    // To make the images is this process's own work, and no agent asks for any before they are there.
    const pushed = pushAll(folder, registryFolder, nodeCount);
    const started = inLanes(hosts.nodes, async (host, index) => {
      const plan = { place: nodePlace(index), host, originUrl: origin.url, tracker: address, folder };
      nodes[index] = await ChaosNode.start(plan, signal);
    });
    const [images] = await Promise.all([pushed, started]);
    await origin.start();
    const all = [hosts.origin, hosts.tracker, ...hosts.nodes];
    return new ChaosField({ network, origin, tracker, nodes, images, hosts: all }, daemons.move(), ground.move());
  }

  /** Has every process end. @returns those that are left, by host */
  async endProcesses(): Promise<string[]> {
    await this.#daemons.disposeAsync();
    const left: string[] = [];
    for (const { name, namespace } of this.#hosts) {
      const { stdout } = await attempt('ip', ['netns', 'pids', namespace.name]);
      for (const pid of stdout.trim().split('\n').filter(Boolean)) left.push(`${pid} on ${name}`);
    }
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemons.disposeAsync();
    await this.#ground.disposeAsync();
  }
}

interface Parts {
  readonly network: RigNetwork;
  readonly origin: ChaosOrigin;
  readonly tracker: ChaosDaemon<TrackerAddress>;
  readonly nodes: readonly ChaosNode[];
  readonly images: ImageSet;
  readonly hosts: readonly Host[];
}

/** Through a registry on the machine's own loopback, which the shaped links do not slow down. */
async function pushAll(folder: DaemonFolder, registryFolder: string, nodeCount: number): Promise<ImageSet> {
  const layers = folder.join('layers');
  await mkdir(layers);
  await using registry = await RegistryDaemon.start({ folder: registryFolder });
  return await pushImages(registry.url, layers, nodeCount);
}
