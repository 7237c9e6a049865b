/** The ways to get an image onto all nodes that are compared, each on the same hosts, links, registry and runtimes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentPlan, MIRROR_URL, REGISTRY, type ReadyDaemon, startAgent, startTracker } from '../rig/daemons.ts';
import { inLanes } from '../rig/lanes.ts';
import { RegistryDaemon } from './registry.ts';
import { RivalNode } from './rival.ts';
import { NodeRuntime } from './runtime.ts';
import { referenceOf, type Stage } from './stage.ts';

/** Agents are told of each other within this time. */
const INTRODUCED_MS = 2_000;
const WARM_TIMEOUT_MS = 10 * 60_000;
const KILLED_SHARE = 0.25;
/** Of the least time that the rollout can take: by then some pieces are everywhere, and none of the nodes is done. */
const KILLED_AT = 0.4;

/** No host of the rig: an agent whose tracker is there knows nobody. */
const NOBODY = 'https://10.77.255.254:7302';

export type ProcessKind = 'agent' | 'tracker' | 'cache' | 'rival';

export interface RunningContender extends AsyncDisposable {
  /** What containerd on each node asks before the registry itself; undefined: nothing. */
  readonly mirror: string | undefined;
  readonly processes: readonly { readonly kind: ProcessKind; readonly pid: number }[];
  /** Called when the pulls begin; what goes wrong on purpose. */
  disturb?(boundSeconds: number, signal: AbortSignal): Promise<void>;
}

export interface Contender {
  /** Short, as `--only` takes it. */
  readonly name: string;
  readonly about: string;
  /** @throws when it does not get ready; nothing is left running then */
  start(stage: Stage, signal: AbortSignal): Promise<RunningContender>;
}

export const CONTENDERS: readonly Contender[] = [
  { name: 'direct', about: 'every node asks the registry', start: async () => running(undefined, []) },
  { name: 'cache', about: 'docker-registry as a pull-through cache', start: startCache },
  { name: 'shoal', about: 'Shoal, nobody has the image', start: startShoal },
  {
    name: 'shoal-warm',
    about: 'Shoal, one node has the image already',
    start: (stage, signal) => startShoal(stage, signal, { warm: true }),
  },
  {
    name: 'shoal-no-tracker',
    about: 'Shoal, its tracker killed as the pulls begin',
    start: (stage, signal) => startShoal(stage, signal, { disturb: killTracker }),
  },
  {
    name: 'shoal-agents-killed',
    about: 'Shoal, a quarter of the agents killed in the middle',
    start: (stage, signal) => startShoal(stage, signal, { disturb: killAgents }),
  },
];

/** Another system, started by a command of the user's on every node. */
export function rival(name: string, command: string): Contender {
  return {
    name,
    about: command.slice(0, 60),
    async start(stage, signal) {
      await using started = new AsyncDisposableStack();
      const nodes: RivalNode[] = [];
      await inLanes(stage.hosts.nodes, async (_host, index) => {
        nodes[index] = started.use(await RivalNode.start(command, stage, index, signal));
      });
      const processes = nodes.map(({ pid }) => ({ kind: 'rival' as const, pid }));
      return running(MIRROR_URL, processes, started.move());
    },
  };
}

async function startCache({ hosts, folder, origin }: Stage): Promise<RunningContender> {
  const path = await folder.make('cache');
  const cache = await RegistryDaemon.start({ folder: path, host: hosts.cache, cacheOf: origin.url });
  return running(cache.url, [{ kind: 'cache', pid: cache.pid }], {
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await folder.remove('cache');
    },
  });
}

interface Shoal {
  readonly tracker: ReadyDaemon<unknown>;
  readonly agents: readonly ReadyDaemon<unknown>[];
}

interface ShoalOptions {
  readonly warm?: boolean;
  readonly disturb?: (shoal: Shoal, boundSeconds: number, signal: AbortSignal) => Promise<void>;
}

async function startShoal(stage: Stage, signal: AbortSignal, options: ShoalOptions = {}): Promise<RunningContender> {
  const resources = new AsyncDisposableStack();
  try {
    return await runShoal(stage, signal, options, resources);
  } catch (error) {
    await resources.disposeAsync();
    throw error;
  }
}

async function runShoal(
  stage: Stage,
  signal: AbortSignal,
  { warm: isWarm = false, disturb }: ShoalOptions,
  resources: AsyncDisposableStack,
): Promise<RunningContender> {
  const { hosts, folder, origin, settings } = stage;
  const dataOf = async (name: string): Promise<string> => {
    resources.defer(() => folder.remove(`data-${name}`));
    return await folder.make(`data-${name}`);
  };
  const tracker = resources.use(startTracker({ host: hosts.tracker, dataFolder: await dataOf('tracker') }));
  const address = await tracker.ready(signal);
  const plans: AgentPlan[] = [];
  const agents: ReadyDaemon<unknown>[] = [];
  await inLanes(hosts.nodes, async (host, index) => {
    plans[index] = {
      host,
      zone: 'zone-1',
      dataFolder: await dataOf(host.name),
      tracker: settings.isolated === index + 1 ? { ...address, url: NOBODY } : address,
      originUrl: origin.url,
      nodeArguments: [],
    };
    agents[index] = resources.use(startAgent(plans[index]));
    await agents[index].ready(signal);
  });
  if (isWarm) await warm(stage);
  await sleep(INTRODUCED_MS, undefined, { signal });
  const processes: { kind: ProcessKind; pid: number }[] = [
    { kind: 'tracker', pid: tracker.pid },
    ...agents.map(({ pid }) => ({ kind: 'agent' as const, pid })),
  ];
  const restart = async (index: number): Promise<void> => {
    await agents[index]?.process.kill();
    agents[index] = resources.use(startAgent(plans[index]!));
    processes.push({ kind: 'agent', pid: agents[index].pid });
  };
  return {
    ...running(MIRROR_URL, processes, resources),
    async disturb(boundSeconds, stop) {
      const restarts = restartInTurn(settings.scenario.restarts, agents.length, boundSeconds, restart, stop);
      await Promise.all([restarts, disturb?.({ tracker, agents }, boundSeconds, stop)]);
    },
  };
}

async function restartInTurn(
  count: number,
  agents: number,
  boundSeconds: number,
  restart: (index: number) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await sleep((boundSeconds * 1_000) / (count + 1), undefined, { signal });
    await restart(turn % agents);
  }
}

/** The first node's agent gets the image, by a runtime that is gone before the pulls begin. */
async function warm({ hosts, folder, origin, image }: Stage): Promise<void> {
  const [first] = hosts.nodes;
  await using runtime = await NodeRuntime.start(first!, await folder.make('warm'));
  await runtime.route({ registry: REGISTRY, upstream: origin.url, mirror: MIRROR_URL });
  const { failure } = await runtime.pull(referenceOf(image), image, WARM_TIMEOUT_MS);
  if (failure !== undefined) throw new Error(`the first node could not be given the image: ${failure}`);
}

async function killTracker({ tracker }: Shoal): Promise<void> {
  await tracker.process.kill();
}

async function killAgents({ agents }: Shoal, boundSeconds: number, signal: AbortSignal): Promise<void> {
  await sleep(KILLED_AT * boundSeconds * 1_000, undefined, { signal });
  const killed = agents.slice(-Math.max(1, Math.round(KILLED_SHARE * agents.length)));
  await Promise.all(killed.map(({ process }) => process.kill()));
}

function running(
  mirror: string | undefined,
  processes: RunningContender['processes'],
  resources?: AsyncDisposable,
): RunningContender {
  return { mirror, processes, [Symbol.asyncDispose]: async () => await resources?.[Symbol.asyncDispose]() };
}
