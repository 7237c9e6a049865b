/**
 * Hosts on one switch: each is a network namespace whose only way out is a pair of interfaces into a bridge, narrowed
 * to the rate of its link both ways. The bridge is in a namespace too, so nothing is connected to the machine's own
 * network, and no address, route or interface of it can be in the way.
 */
import { run } from '../../test/support/daemon/process.ts';
import { shapeArguments } from './link-shape.ts';
import { Namespace } from './namespace.ts';
import type { RigName } from './rig-name.ts';

/** The interface of every host. */
export const HOST_DEVICE = 'eth0';
const BRIDGE = 'switch';
const SUBNET = '10.77';
const SUBNET_BITS = 16;
const HOSTS_PER_ROW = 250;

export interface Host {
  readonly name: string;
  readonly address: string;
  readonly namespace: Namespace;
}

/** What passed one direction of a link, counted as it goes over the wire: with all headers. */
export interface LinkCount {
  bytes: number;
  droppedPackets: number;
}

export class RigNetwork implements AsyncDisposable {
  readonly #rig: RigName;
  readonly #congestionControl: string;
  readonly #namespaces: Namespace[] = [];
  readonly #removeAtExit = (): void => {
    for (const namespace of this.#namespaces) namespace.removeNow();
  };
  #bridge!: Namespace;
  #hosts = 0;

  private constructor(rig: RigName, congestionControl: string) {
    this.#rig = rig;
    this.#congestionControl = congestionControl;
    process.on('exit', this.#removeAtExit);
  }

  /** @param congestionControl how every host's TCP paces itself, by its name in the kernel */
  static async create(rig: RigName, congestionControl: string): Promise<RigNetwork> {
    await using resources = new AsyncDisposableStack();
    const network = resources.use(new RigNetwork(rig, congestionControl));
    network.#bridge = await network.#namespace('switch');
    await run('ip', ['-n', network.#bridge.name, 'link', 'add', BRIDGE, 'type', 'bridge']);
    await run('ip', ['-n', network.#bridge.name, 'link', 'set', BRIDGE, 'up']);
    resources.move();
    return network;
  }

  /** @param bitsPerSecond each way; undefined leaves the link as fast as the machine */
  async attach(name: string, bitsPerSecond: number | undefined): Promise<Host> {
    const number = this.#hosts++;
    const address = `${SUBNET}.${Math.floor(number / HOSTS_PER_ROW)}.${1 + (number % HOSTS_PER_ROW)}`;
    const namespace = await this.#namespace(name);
    const { name: inside } = namespace;
    const { name: bridge } = this.#bridge;
    await run('ip', ['-n', bridge, 'link', 'add', name, 'type', 'veth', 'peer', 'name', HOST_DEVICE, 'netns', inside]);
    if (bitsPerSecond !== undefined) {
      const shape = shapeArguments(bitsPerSecond);
      await run('tc', ['-n', inside, 'qdisc', 'replace', 'dev', HOST_DEVICE, 'root', ...shape]);
      await run('tc', ['-n', bridge, 'qdisc', 'replace', 'dev', name, 'root', ...shape]);
    }
    await run('ip', ['-n', bridge, 'link', 'set', name, 'master', BRIDGE, 'up']);
    await run('ip', ['-n', inside, 'address', 'add', `${address}/${SUBNET_BITS}`, 'dev', HOST_DEVICE]);
    await run('ip', ['-n', inside, 'link', 'set', HOST_DEVICE, 'up']);
    const route = [
      `${SUBNET}.0.0/${SUBNET_BITS}`,
      'dev',
      HOST_DEVICE,
      'proto',
      'kernel',
      'scope',
      'link',
      'src',
      address,
    ];
    await run('ip', ['-n', inside, 'route', 'replace', ...route, 'congctl', this.#congestionControl]);
    return { name, address, namespace };
  }

  /** As when somebody pulls the plug: the host keeps its address and routes, and nothing passes. */
  async cut(host: Host): Promise<void> {
    await run('ip', ['-n', this.#bridge.name, 'link', 'set', host.name, 'down']);
  }

  async mend(host: Host): Promise<void> {
    await run('ip', ['-n', this.#bridge.name, 'link', 'set', host.name, 'up']);
  }

  /** Of a shaped link, since it was made. */
  async counts(host: Host): Promise<{ up: LinkCount; down: LinkCount }> {
    const [up, down] = await Promise.all([
      shaperCount(host.namespace.name, HOST_DEVICE),
      shaperCount(this.#bridge.name, host.name),
    ]);
    return { up, down };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#namespaces.map((namespace) => namespace.remove()));
    process.off('exit', this.#removeAtExit);
  }

  async #namespace(name: string): Promise<Namespace> {
    const namespace = await Namespace.create(`${this.#rig}-${name}`);
    this.#namespaces.push(namespace);
    return namespace;
  }
}

/** Unlike the interface's own counter, the shaper's counts the headers of each packet that a large one is cut into. */
async function shaperCount(namespace: string, device: string): Promise<LinkCount> {
  const text = await run('tc', ['-n', namespace, '-s', '-j', 'qdisc', 'show', 'dev', device, 'root']);
  const [shaper] = JSON.parse(text) as { bytes: number; drops: number }[];
  if (shaper === undefined) throw new Error(`${device} in ${namespace} is not shaped`);
  return { bytes: shaper.bytes, droppedPackets: shaper.drops };
}
