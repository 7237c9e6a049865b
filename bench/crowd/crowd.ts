// Every process of one run, each in its host's namespace: origin, tracker, and on each node an agent with its client.
import { resolve } from 'node:path';
import { type ReadyDaemon, startAgent, startTracker, type TrackerAddress } from '../rig/daemons.ts';
import { inLanes } from '../rig/lanes.ts';
import type { RigFolder } from '../rig/rig-folder.ts';
import type { Host, RigNetwork } from '../rig/rig-network.ts';
import { Origin } from './origin.ts';
import { Puller } from './puller.ts';
import type { CrowdSettings } from './settings.ts';

export interface CrowdHosts {
  readonly origin: Host;
  readonly tracker: Host;
  readonly nodes: readonly Host[];
}

export interface CrowdNode {
  readonly host: Host;
  readonly zone: string;
  readonly agent: ReadyDaemon<unknown>;
  readonly puller: Puller;
}

export class Crowd implements AsyncDisposable {
  readonly origin: Origin;
  readonly tracker: ReadyDaemon<TrackerAddress>;
  readonly trackerUrl: string;
  readonly nodes: readonly CrowdNode[];
  readonly #processes: AsyncDisposable;

  private constructor(parts: Pick<Crowd, 'origin' | 'tracker' | 'trackerUrl' | 'nodes'>, processes: AsyncDisposable) {
    this.origin = parts.origin;
    this.tracker = parts.tracker;
    this.trackerUrl = parts.trackerUrl;
    this.nodes = parts.nodes;
    this.#processes = processes;
  }

  /** Resolves when all are ready. @throws when one does not get so; none is left running then */
  static async start(
    hosts: CrowdHosts,
    folder: RigFolder,
    settings: CrowdSettings,
    signal: AbortSignal,
  ): Promise<Crowd> {
    await using started = new AsyncDisposableStack();
    const origin = started.use(await Origin.start(hosts.origin, settings, signal));
    const tracker = started.use(startTracker({ host: hosts.tracker, dataFolder: await folder.make('tracker') }));
    const address = await tracker.ready(signal);

    const onNodes = started.use(new Together());
    const nodes: CrowdNode[] = new Array(hosts.nodes.length);
    await inLanes(hosts.nodes, async (host, index) => {
      const zone = `zone-${1 + (index % settings.zones)}`;
      const agent = onNodes.use(
        startAgent({
          host,
          zone,
          dataFolder: await folder.make(host.name),
          tracker: address,
          originUrl: origin.image.url,
          nodeArguments: index === 0 ? profiling(settings) : [],
        }),
      );
      await agent.ready(signal);
      nodes[index] = { host, zone, agent, puller: onNodes.use(await Puller.start(host, origin.image, signal)) };
    });
    return new Crowd({ origin, tracker, trackerUrl: address.url, nodes }, started.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#processes[Symbol.asyncDispose]());
  }
}

export async function attachHosts(network: RigNetwork, settings: CrowdSettings): Promise<CrowdHosts> {
  const origin = await network.attach('origin', settings.originLinkBitsPerSecond);
  const tracker = await network.attach('tracker', undefined);
  const nodes: Host[] = [];
  for (let number = 1; number <= settings.nodes; number++) {
    nodes.push(await network.attach(`node-${number}`, settings.linkBitsPerSecond));
  }
  return { origin, tracker, nodes };
}

/** What is disposed at once, not one after the other. */
class Together implements AsyncDisposable {
  readonly #parts: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#parts.map((part) => part[Symbol.asyncDispose]()));
  }
}

function profiling({ cpuProfileFolder }: CrowdSettings): string[] {
  return cpuProfileFolder === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', resolve(cpuProfileFolder)];
}
