/** What `shoal bench` does: counts, pulls or waits, counts again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { ociArchitecture } from '../demo/image.ts';
import { listenForInterruption } from '../demo/interruption.ts';
import { type NodeSources, nodeSources } from '../demo/node-metrics.ts';
import { ProgressDisplay } from '../demo/progress.ts';
import { parseMetrics } from '../demo/prometheus.ts';
import { type DemoNumbers, demoJson, demoReport } from '../demo/report.ts';
import { type PulledAgent, type PullOutcome, SimultaneousPulls } from '../demo/simultaneous-pulls.ts';
import { imageName, referenceOf } from '../image-argument.ts';
import type { AgentAddresses, BenchOptions } from './command.ts';

const ANSWER_WITHIN_MS = 10_000;

/** @throws CommandFailure */
export async function runBench({ image, agents, watchMs, json }: BenchOptions, io: CliIo): Promise<void> {
  const measured = agents.map(agentAt);
  const interruption = listenForInterruption(io, () => undefined);
  const { signal } = interruption;
  try {
    const before = await sourcesOf(measured);
    const { registry, repository } = image;
    const name = imageName(image);
    if (watchMs !== undefined) {
      if (!json) io.stdout.write(`counting for ${watchMs / 1_000} s: roll ${name} out now; Ctrl-C ends it earlier\n`);
      await sleep(watchMs, undefined, { signal }).catch(() => undefined);
      tell({ imageBytes: 0, blobs: 0, failedPulls: 0 }, measured, await since(measured, before), [], json, io);
      return;
    }
    if (!json) io.stdout.write(`pulling ${name} through ${measured.length} mirrors at once\n\n`);
    const pulls = new SimultaneousPulls(measured);
    const display = json ? undefined : new ProgressDisplay(io.stdout, () => pulls.progress(), signal);
    const platform = { os: 'linux', architecture: ociArchitecture(process.arch) };
    const outcomes = await pulls
      .run({ registry, repository, reference: referenceOf(image), platform }, signal)
      .finally(() => display?.finish());
    if (!json) io.stdout.write('\n');
    for (const { agent, failure } of outcomes) {
      if (failure !== undefined) io.stderr.write(`${agent.name}: ${failure.message}\n`);
    }
    const pulled = outcomes.find((outcome) => outcome.image !== undefined)?.image;
    const failedPulls = outcomes.filter(({ failure }) => failure !== undefined).length;
    const about = { imageBytes: pulled?.totalBytes ?? 0, blobs: pulled?.objects ?? 0, failedPulls };
    tell(about, measured, await since(measured, before), outcomes, json, io);
    if (failedPulls > 0) throw new CommandFailure(`shoal bench: ${failedPulls} of ${outcomes.length} pulls failed`);
  } catch (error) {
    if (signal.aborted) throw new CommandFailure('shoal bench: stopped before there was a result');
    throw error;
  } finally {
    interruption.stopListening();
  }
}

function agentAt({ mirror, admin }: AgentAddresses): PulledAgent {
  return {
    name: mirror,
    mirrorUrl: `http://${mirror}`,
    metrics: async () => {
      try {
        const answer = await fetch(`http://${admin}/metrics`, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
        if (answer.ok) return parseMetrics(await answer.text());
        throw new Error(`status ${answer.status}`);
      } catch (cause) {
        const line = `shoal bench: no agent answers at ${admin}; give the addresses of running agents with --agent MIRROR,ADMIN`;
        throw new CommandFailure(line, 1, { cause });
      }
    },
  };
}

async function sourcesOf(agents: readonly PulledAgent[]): Promise<NodeSources[]> {
  return await Promise.all(agents.map(async (agent) => nodeSources(await agent.metrics())));
}

async function since(agents: readonly PulledAgent[], before: readonly NodeSources[]): Promise<NodeSources[]> {
  const after = await sourcesOf(agents);
  return after.map((now, index) => {
    const then = before[index] as NodeSources;
    return {
      bytesFromPeers: now.bytesFromPeers - then.bytesFromPeers,
      bytesFromOrigin: now.bytesFromOrigin - then.bytesFromOrigin,
      bytesFromStore: now.bytesFromStore - then.bytesFromStore,
      originRequests: now.originRequests - then.originRequests,
    };
  });
}

function tell(
  about: Pick<DemoNumbers, 'imageBytes' | 'blobs' | 'failedPulls'>,
  agents: readonly PulledAgent[],
  used: readonly NodeSources[],
  outcomes: readonly PullOutcome[],
  json: boolean,
  io: CliIo,
): void {
  const sum = (of: (node: NodeSources) => number): number => used.reduce((all, node) => all + of(node), 0);
  const numbers: DemoNumbers = {
    ...about,
    originBytes: sum(({ bytesFromOrigin }) => bytesFromOrigin),
    originRequests: sum(({ originRequests }) => originRequests),
    perNode: used.map(({ originRequests: _, ...node }, index) => ({
      node: agents[index]?.name ?? '',
      seconds: outcomes[index]?.seconds,
      ...node,
    })),
  };
  if (json) io.stdout.write(`${JSON.stringify(demoJson(numbers), null, 2)}\n`);
  else io.stdout.write(`${demoReport(numbers, { isWatch: outcomes.length === 0 })}as the agents count\n`);
}
