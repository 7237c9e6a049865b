/**
 * One run: hosts on a switch, plain streams to see what the links carry, then origin, tracker, agents and clients, each
 * in its own namespace; all are ready before all clients are told to pull at once.
 */
import { availableParallelism } from 'node:os';
import { pieceCountOf } from '@shoal/swarm';
import type { NodeProgress } from '../../packages/cli/src/demo/progress.ts';
import { sumOf } from '../../packages/cli/src/demo/prometheus.ts';
import { boundSeconds } from '../rig/bound.ts';
import { ADMIN_URL } from '../rig/daemons.ts';
import { checkLinks } from '../rig/link-check.ts';
import { peakRssBytes } from '../rig/proc.ts';
import { RigFolder } from '../rig/rig-folder.ts';
import { RigName } from '../rig/rig-name.ts';
import { type LinkCount, RigNetwork } from '../rig/rig-network.ts';
import { attachHosts, Crowd, type CrowdNode } from './crowd.ts';
import type { PullEnded } from './pull-process.ts';
import type { CrowdReading, NodeReading } from './reading.ts';
import type { CrowdSettings } from './settings.ts';
import { traceLinks } from './trace.ts';
import { cpuUsed, type LinksUsed, linksUsed } from './used.ts';

/** A pull that takes longer than this many times the bound, and a minute, has failed. */
const PATIENCE = 10;
const PATIENCE_MS = 60_000;
const BITS = 8;
const MEGA = 1e6;

export interface CrowdWatcher {
  /** What happens now, in a few words. */
  step(text: string): void;
  /** The pulls begin; `read` gives the state of the moment until the promise settles. */
  pulling(read: () => readonly NodeProgress[], ended: Promise<unknown>): void;
}

/** Everything is removed again when it settles. @throws the signal's reason, or what kept the run from its end */
export async function runCrowd(
  settings: CrowdSettings,
  watcher: CrowdWatcher,
  signal: AbortSignal,
): Promise<CrowdReading> {
  await using resources = new AsyncDisposableStack();
  const rig = RigName.ofThisProcess();
  const folder = resources.use(await RigFolder.create(rig, settings.nodes * settings.layerBytes));
  const network = resources.use(await RigNetwork.create(rig, settings.congestionControl));
  const hosts = await attachHosts(network, settings);

  watcher.step('checking the links with plain TCP streams');
  const rates = await checkLinks(hosts.origin, hosts.nodes, signal);
  watcher.step(`starting origin, tracker and ${settings.nodes} agents`);
  const crowd = resources.use(await Crowd.start(hosts, folder, settings, signal));
  const { objects } = crowd.origin.image;
  const imageBytes = sum(objects.map(({ sizeBytes }) => sizeBytes));
  const blobs = objects.filter(({ name }) => name !== 'manifest');
  const pieces = sum(blobs.map(({ sizeBytes }) => pieceCountOf(sizeBytes)));
  const bound = boundSeconds({ imageBytes, pieces, nodes: settings.nodes, bytesPerSecond: rates.fromOrigin });

  const timeoutMs = Math.ceil(PATIENCE * bound * 1_000) + PATIENCE_MS;

  const linksBefore = await linksUsed(network, hosts);
  const cpuBefore = await cpuUsed(crowd);
  const startedMs = performance.now();
  const tracing = new AbortController();
  const agentPids = crowd.nodes.map(({ agent }) => agent.pid);
  const traced = settings.trace ? traceLinks(crowd.origin.pid, agentPids, tracing.signal) : undefined;
  const pulls = Promise.all(crowd.nodes.map(({ puller }) => puller.pull(timeoutMs)));
  watcher.pulling(() => crowd.nodes.map(({ puller }) => puller.progress), pulls);
  const ended = await pulls.finally(() => tracing.abort());
  const wallSeconds = (performance.now() - startedMs) / 1_000;
  const cpuAfter = await cpuUsed(crowd);
  const links = difference(await linksUsed(network, hosts), linksBefore);

  const originCounts = await crowd.origin.counts(signal);
  const agentCpu = cpuAfter.agents.map((after, index) => after - cpuBefore.agents[index]!);
  const clientCpu = cpuAfter.clients.map((after, index) => after - cpuBefore.clients[index]!);
  const [trackerCpu, originCpu, rigCpu, machineCpu] = (['tracker', 'origin', 'rig', 'machine'] as const).map(
    (who) => cpuAfter[who] - cpuBefore[who],
  ) as [number, number, number, number];
  const perNode = await Promise.all(
    crowd.nodes.map((node, index) => nodeReading(node, ended[index]!, agentCpu[index]!)),
  );
  const times = perNode.flatMap(({ seconds }) => seconds ?? []).sort((a, b) => a - b);
  const makespanSeconds = times.at(-1) ?? Number.NaN;
  const medianSeconds = median(times);
  const processors = availableParallelism();
  const nodeBytesPerSecond = settings.linkBitsPerSecond / BITS;
  const peaks = await Promise.all(agentPids.map((pid) => peakRssBytes(pid).catch(() => 0)));
  return {
    nodes: settings.nodes,
    zones: settings.zones,
    imageBytes,
    layers: settings.layers,
    pieces,
    linkMbit: settings.linkBitsPerSecond / MEGA,
    originLinkMbit: settings.originLinkBitsPerSecond / MEGA,
    payloadMbit: megabits(rates.fromOrigin),
    duplexPayloadMbit: rates.duplex?.map(megabits),
    congestionControl: settings.congestionControl,
    originBytes: originCounts.bytes,
    originBytesRatio: originCounts.bytes / imageBytes,
    originWireRatio: links.origin.up.bytes / imageBytes,
    originRequests: originCounts.requests,
    originRequestsPerObject: originCounts.requests / objects.length,
    originObjects: originCounts.perObject,
    leases: await grantedLeases(crowd),
    boundSeconds: bound,
    makespanSeconds,
    makespanRatio: makespanSeconds / bound,
    medianSeconds,
    medianRatio: medianSeconds / bound,
    failedPulls: ended.filter(({ failure }) => failure !== undefined).length,
    perNode,
    linkUse: {
      originUp: links.origin.up.bytes / (wallSeconds * (settings.originLinkBitsPerSecond / BITS)),
      nodeDownMean: mean(links.nodes.map(({ down }) => down.bytes)) / (wallSeconds * nodeBytesPerSecond),
      nodeUpMean: mean(links.nodes.map(({ up }) => up.bytes)) / (wallSeconds * nodeBytesPerSecond),
    },
    droppedPackets: sum([links.origin, ...links.nodes].map(({ up, down }) => up.droppedPackets + down.droppedPackets)),
    cpuSecondsPerNode: mean(agentCpu) + mean(clientCpu),
    agentCpuSecondsPerNode: mean(agentCpu),
    trackerCpuSeconds: trackerCpu,
    cpuUtilisation: (sum(agentCpu) + sum(clientCpu) + trackerCpu + originCpu + rigCpu) / (processors * wallSeconds),
    machineUtilisation: machineCpu / (processors * wallSeconds),
    peakRssBytes: Math.max(...peaks),
    traced: await traced,
  };
}

async function nodeReading(node: CrowdNode, ended: PullEnded, agentCpuSeconds: number): Promise<NodeReading> {
  const samples = (await node.puller.metrics(new URL('/metrics', ADMIN_URL).href)) ?? [];
  const bytes = (source: string, direction: string): number =>
    sumOf(samples, 'shoal_bytes_total', { source, direction });
  const crash = node.agent.process.ended;
  return {
    node: node.host.name,
    zone: node.zone,
    seconds: ended.failure === undefined ? ended.seconds : undefined,
    failure: crash === undefined ? ended.failure : `the agent ended: ${crash}\n${node.agent.process.log}`,
    bytesFromPeers: bytes('peer', 'in'),
    bytesFromOrigin: bytes('origin', 'in'),
    bytesToPeers: bytes('peer', 'out'),
    agentCpuSeconds,
  };
}

async function grantedLeases(crowd: Crowd): Promise<number | undefined> {
  const samples = await crowd.nodes[0]!.puller.metrics(new URL('/metrics', crowd.trackerUrl).href);
  const requests = samples?.filter(({ name }) => name === 'shoal_tracker_lease_requests_total');
  if (requests === undefined || requests.length === 0) return undefined;
  return sum(requests.filter(({ labels }) => labels.outcome !== 'refused').map(({ value }) => value));
}

function difference(after: LinksUsed, before: LinksUsed): LinksUsed {
  const count = (now: LinkCount, then: LinkCount): LinkCount => ({
    bytes: now.bytes - then.bytes,
    droppedPackets: now.droppedPackets - then.droppedPackets,
  });
  const link = (now: LinksUsed['origin'], then: LinksUsed['origin']): LinksUsed['origin'] => ({
    up: count(now.up, then.up),
    down: count(now.down, then.down),
  });
  return {
    origin: link(after.origin, before.origin),
    nodes: after.nodes.map((now, index) => link(now, before.nodes[index]!)),
  };
}

function megabits(bytesPerSecond: number): number {
  return (bytesPerSecond * BITS) / MEGA;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** Of sorted values; of an even number the mean of the two in the middle. */
function median(sorted: readonly number[]): number {
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
