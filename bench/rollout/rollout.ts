/**
 * A whole comparison: hosts on a switch, a registry with the image, and then one way after the other to get that image onto
 * all nodes, each with runtimes and processes of its own that are gone before the next one begins.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { pieceCountOf } from '@shoal/swarm';
import { type NodeSources, nodeSources } from '../../packages/cli/src/demo/node-metrics.ts';
import { parseMetrics, sumOf } from '../../packages/cli/src/demo/prometheus.ts';
import { attempt } from '../../test/support/daemon/process.ts';
import { boundSeconds } from '../rig/bound.ts';
import { ADMIN_URL, REGISTRY } from '../rig/daemons.ts';
import { inLanes } from '../rig/lanes.ts';
import { checkLinks } from '../rig/link-check.ts';
import { type MachineFacts, machineFacts } from '../rig/machine.ts';
import { RigFolder } from '../rig/rig-folder.ts';
import { RigName } from '../rig/rig-name.ts';
import { type Host, RigNetwork } from '../rig/rig-network.ts';
import type { Contender, RunningContender } from './contender.ts';
import { type BenchImage, buildLayer, pushImage } from './image.ts';
import { Meter } from './meter.ts';
import { type ContenderReading, medianOf, type NodeReading, peaks, perGiB, spreadOf } from './reading.ts';
import { RegistryDaemon } from './registry.ts';
import { NodeRuntime, type RuntimePull } from './runtime.ts';
import type { Scenario } from './scenario.ts';
import type { RolloutSettings } from './settings.ts';
import { referenceOf, type Stage } from './stage.ts';

const BITS = 8;
/** A pull that takes longer than this many times what asking the registry alone needs, and a minute, has failed. */
const PATIENCE = 3;
const PATIENCE_MS = 60_000;
/** The registry writes its log a moment after its answers. */
const SETTLE_MS = 500;
/** A node that takes less than this of the image from others has not been in the swarm. */
const LEAST_PEER_SHARE = 0.01;
/** Copies of the image that one node may hold: containerd's content and snapshot, an agent's cache, a runtime that warms. */
const COPIES_PER_NODE = 4;
const WARM_UP_LAYERS = 4;

export interface RolloutReading {
  readonly scenario: Scenario;
  readonly machine: MachineFacts;
  readonly imageBytes: number;
  /** What one node has to get: without the layers that it holds. */
  readonly newBytes: number;
  readonly payloadBitsPerSecond: number;
  readonly repeats: number;
  readonly results: readonly ContenderReading[];
}

export interface RolloutWatcher {
  /** What happens now, in a few words. */
  step(text: string): void;
  /** The pulls of one way begin; `read` gives bytes by node until the promise settles. */
  pulling(read: () => readonly number[], newBytes: number, ended: Promise<unknown>): void;
  done(reading: ContenderReading): void;
}

/** Everything is removed again when it settles. @throws the signal's reason, or what kept the run from its end */
export async function runRollout(
  settings: RolloutSettings,
  watcher: RolloutWatcher,
  signal: AbortSignal,
): Promise<RolloutReading> {
  const { scenario, repeats } = settings;
  await using resources = new AsyncDisposableStack();
  const rig = RigName.ofThisProcess();
  const folder = resources.use(
    await RigFolder.create(rig, (COPIES_PER_NODE * scenario.nodes + 3) * (scenario.image + scenario.warmUp)),
  );
  watcher.step('making the image');
  const { image, before, registryFolder } = await prepareRegistry(folder, scenario);
  const network = resources.use(await RigNetwork.create(rig, 'cubic'));
  const originLink = scenario.originLink ?? scenario.link;
  const attach = (name: string, rate: number | undefined): Promise<Host> => network.attach(name, rate);
  const hosts = {
    origin: await attach('origin', originLink),
    cache: await attach('cache', originLink),
    tracker: await attach('tracker', undefined),
    nodes: await inOrder(scenario.nodes, (index) => attach(`node-${index + 1}`, scenario.link)),
  };
  watcher.step('checking the links with plain TCP streams');
  const rates = await checkLinks(hosts.origin, hosts.nodes, signal);
  const origin = resources.use(await RegistryDaemon.start({ folder: registryFolder, host: hosts.origin }));
  const stage: Stage = { settings, network, folder, hosts, origin, image, before, rates };
  const newBytes = image.totalBytes - sharedBytes(image, before);
  const results: ContenderReading[] = [];
  for (const contender of settings.contenders) {
    const readings: ContenderReading[] = [];
    for (let turn = 0; turn < repeats; turn++) {
      watcher.step(`${contender.name}: ${contender.about}${repeats > 1 ? ` (${turn + 1} of ${repeats})` : ''}`);
      readings.push(await measure(contender, stage, newBytes, watcher, signal));
    }
    const reading = medianOf(readings);
    results.push(reading);
    watcher.done(reading);
  }
  return {
    scenario,
    machine: await machineFacts(),
    imageBytes: image.totalBytes,
    newBytes,
    payloadBitsPerSecond: rates.fromOrigin * BITS,
    repeats,
    results,
  };
}

async function prepareRegistry(folder: RigFolder, { image, layers, sharedLayers, warmUp }: Scenario) {
  const registryFolder = await folder.make('registry');
  const built = await folder.make('layers');
  const build = (count: number, name: string, bytes: number) =>
    inOrder(count, (index) => buildLayer(built, `${name}-${index}`, Math.ceil(bytes / count)));
  const all = await build(layers, 'new', image);
  const olderLayers = layers - sharedLayers;
  const older = sharedLayers === 0 ? [] : await build(olderLayers, 'old', (image / layers) * olderLayers);
  const others = warmUp === 0 ? [] : await build(WARM_UP_LAYERS, 'warm-up', warmUp);
  await using registry = await RegistryDaemon.start({ folder: registryFolder });
  const push = (name: string, tag: string, of: typeof all) => pushImage(registry.url, `bench/${name}`, tag, of);
  const before: BenchImage[] = [];
  if (others.length > 0) before.push(await push('other', 'one', others));
  if (sharedLayers > 0) before.push(await push('app', 'old', [...all.slice(0, sharedLayers), ...older]));
  const pushed = await push('app', 'new', all);
  await folder.remove('layers');
  return { image: pushed, before, registryFolder };
}

async function measure(
  contender: Contender,
  stage: Stage,
  newBytes: number,
  watcher: RolloutWatcher,
  signal: AbortSignal,
): Promise<ContenderReading> {
  const { hosts, folder, origin, image, before, settings } = stage;
  const { scenario } = settings;
  const bound = rolloutBound(stage, newBytes);
  const timeoutMs = PATIENCE_MS + PATIENCE * scenario.nodes * bound * 1_000;
  await using running = await contender.start(stage, signal);
  await using started = new AsyncDisposableStack();
  const runtimes: NodeRuntime[] = [];
  await inLanes(hosts.nodes, async (host, index) => {
    signal.throwIfAborted();
    const runtime = started.use(await NodeRuntime.start(host, await folder.make(`runtime-${index + 1}`)));
    await runtime.route({ registry: REGISTRY, upstream: origin.url, mirror: running.mirror });
    runtimes[index] = runtime;
  });
  for (const held of before) await holdAlready(held, runtimes, timeoutMs);
  const sourcesBefore = await allSources(running, hosts.nodes);
  const mute = hosts.nodes.find((_, index) => index in sourcesBefore && sourcesBefore[index] === undefined);
  if (mute !== undefined) throw new Error(`the agent of ${mute.name} does not answer before the pulls begin`);
  await sleep(SETTLE_MS, undefined, { signal });

  const metered = () => [
    ...running.processes,
    ...runtimes.map(({ pid }) => ({ kind: 'runtime' as const, pid })),
    { kind: 'origin' as const, pid: origin.pid },
  ];
  const meter = new Meter(
    origin.pid,
    runtimes.map(({ pid }) => pid),
    metered,
  );
  const requestsBefore = origin.requests;
  await meter.start();
  const startedMs = performance.now();
  const over = new AbortController();
  const disturbed = running
    .disturb?.(bound, AbortSignal.any([signal, over.signal]))
    .catch((error: unknown) => (over.signal.aborted ? undefined : Promise.reject(error)));
  const pulls = pullInWaves(stage, runtimes, timeoutMs, signal);
  watcher.pulling(() => meter.received, newBytes, pulls);
  const ended = await pulls.finally(() => over.abort());
  await disturbed;
  const wallSeconds = (performance.now() - startedMs) / 1_000;
  const used = await meter.end();
  await sleep(SETTLE_MS);

  const sources = await allSources(running, hosts.nodes);
  const nodes = await Promise.all(
    ended.map((pull, index) =>
      nodeReading(hosts.nodes[index]!, image, pull, runtimes[index]!, since(sourcesBefore[index], sources[index])),
    ),
  );
  const done = nodes.flatMap(({ unpackedSeconds }) => unpackedSeconds ?? []);
  const unpacked = spreadOf(done);
  const others = used.uses.filter(({ kind }) => kind !== 'runtime' && kind !== 'origin');
  const deliveredBytes = newBytes * Math.max(1, done.length);
  const sent = used.counters.after[0]!.sent - used.counters.before[0]!.sent;
  return {
    name: contender.name,
    about: contender.about,
    originBytesRatio: sent / newBytes,
    originRequests: origin.requests - requestsBefore,
    makespanSeconds: unpacked.max,
    p50Seconds: unpacked.p50,
    p95Seconds: unpacked.p95,
    lastLayerSeconds: spreadOf(nodes.flatMap(({ lastLayerSeconds }) => lastLayerSeconds ?? [])),
    boundSeconds: bound,
    makespanRatio: unpacked.max / bound,
    cpuSecondsPerGiB: Object.values(perGiB(others, deliveredBytes)).reduce((sum, seconds) => sum + seconds, 0),
    cpuSecondsPerGiBOf: perGiB(used.uses, deliveredBytes),
    peakRssBytes: Math.max(0, ...others.map(({ peakRssBytes }) => peakRssBytes)),
    peakRssBytesOf: peaks(used.uses),
    failedPulls: nodes.filter(({ unpackedSeconds, identical }) => unpackedSeconds === undefined || !identical).length,
    // What an agent that was started again had got before is not known.
    broken: scenario.restarts > 0 ? undefined : whyBroken(contender, nodes, newBytes),
    machineUtilisation: used.machineBusySeconds / (availableParallelism() * wallSeconds),
    nodes,
    samples: used.samples,
    counters: used.counters,
  };
}

/** The groups come one after the other; all but the first find the image on other nodes, and need a link's time for it. */
function rolloutBound({ settings: { scenario }, image, rates }: Stage, newBytes: number): number {
  const first = boundSeconds({
    imageBytes: newBytes,
    pieces: image.layers.reduce((sum, { sizeBytes }) => sum + pieceCountOf(sizeBytes), 2),
    nodes: waveSize(scenario),
    bytesPerSecond: rates.fromOrigin,
  });
  const nodeLink = Math.max(rates.fromOrigin, ...(rates.duplex ?? []));
  const later = Math.ceil(scenario.nodes / waveSize(scenario)) - 1;
  return first + (later * newBytes) / nodeLink;
}

function waveSize({ nodes, waves }: Scenario): number {
  return Math.ceil(nodes / waves);
}

/** One group of nodes after the other; all times count from the first one's start. */
async function pullInWaves(
  { settings: { scenario }, image }: Stage,
  runtimes: readonly NodeRuntime[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<RuntimePull[]> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => undefined);
  const startedMs = performance.now();
  const size = waveSize(scenario);
  const ended: RuntimePull[] = [];
  for (let first = 0; first < runtimes.length; first += size) {
    const lateSeconds = (performance.now() - startedMs) / 1_000;
    const wave = runtimes
      .slice(first, first + size)
      .map((runtime) => runtime.pull(referenceOf(image), image, timeoutMs));
    for (const pull of await Promise.race([Promise.all(wave), aborted])) {
      ended.push({
        ...pull,
        lastLayerSeconds: pull.lastLayerSeconds === undefined ? undefined : pull.lastLayerSeconds + lateSeconds,
        unpackedSeconds: pull.unpackedSeconds === undefined ? undefined : pull.unpackedSeconds + lateSeconds,
      });
    }
  }
  return ended;
}

async function holdAlready(image: BenchImage, runtimes: readonly NodeRuntime[], timeoutMs: number): Promise<void> {
  const pulls = await Promise.all(runtimes.map((runtime) => runtime.pull(referenceOf(image), image, timeoutMs)));
  const failure = pulls.find((pull) => pull.failure !== undefined)?.failure;
  if (failure !== undefined) throw new Error(`the nodes could not be given an image before: ${failure}`);
}

async function nodeReading(
  host: Host,
  image: BenchImage,
  pull: RuntimePull,
  runtime: NodeRuntime,
  sources: NodeSources | undefined,
): Promise<NodeReading> {
  return {
    node: host.name,
    ...pull,
    identical: await runtime.holds(image),
    fromPeersBytes: sources?.bytesFromPeers,
    fromOriginBytes: sources?.bytesFromOrigin,
  };
}

interface AgentSources extends NodeSources {
  /** Of this process, as it says itself. */
  readonly startedAt: number;
}

/** By node; undefined where no agent is. */
async function allSources(
  { processes }: RunningContender,
  nodes: readonly Host[],
): Promise<readonly (AgentSources | undefined)[]> {
  if (!processes.some(({ kind }) => kind === 'agent')) return [];
  return await Promise.all(nodes.map(agentSources));
}

/** An agent that was started anew meanwhile counts from zero. */
function since(before: AgentSources | undefined, after: AgentSources | undefined): NodeSources | undefined {
  if (before === undefined || after === undefined || after.startedAt !== before.startedAt) return after;
  return {
    ...after,
    bytesFromPeers: after.bytesFromPeers - before.bytesFromPeers,
    bytesFromOrigin: after.bytesFromOrigin - before.bytesFromOrigin,
  };
}

/** Undefined when no agent answers there (any more). */
async function agentSources(host: Host): Promise<AgentSources | undefined> {
  const script = `fetch('${ADMIN_URL}/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))`;
  const { program, args } = host.namespace.command(process.execPath, ['-e', script]);
  const { code, stdout } = await attempt(program, args);
  if (code !== 0) return undefined;
  const samples = parseMetrics(stdout);
  return { ...nodeSources(samples), startedAt: sumOf(samples, 'process_start_time_seconds') };
}

/** A swarm in which somebody takes no part is no measurement of one. */
function whyBroken(contender: Contender, nodes: readonly NodeReading[], newBytes: number): string | undefined {
  const swarm = nodes.filter(({ fromPeersBytes }) => fromPeersBytes !== undefined);
  if (swarm.length < 2) return undefined;
  const hadIt = contender.name === 'shoal-warm' ? nodes[0]?.node : undefined;
  const alone = swarm.find(
    ({ node, fromPeersBytes = 0 }) => node !== hadIt && fromPeersBytes < LEAST_PEER_SHARE * newBytes,
  );
  return alone === undefined
    ? undefined
    : `${alone.node} got nothing from the other nodes: its agent does not reach them`;
}

function sharedBytes(image: BenchImage, before: readonly BenchImage[]): number {
  const held = new Set(before.flatMap(({ layers }) => layers.map(({ digest }) => digest)));
  return image.layers.filter(({ digest }) => held.has(digest)).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

async function inOrder<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let index = 0; index < count; index++) made.push(await make(index));
  return made;
}
