/**
 * The demo from start to end:
 *
 *   1. assemble an image (or take the one that was named)
 *   2. start an origin, a tracker and the agents
 *   3. let all agents' clients pull at once, and show how far they are
 *   4. read the counters and report
 *   5. with --keep, stay up until Ctrl-C
 *   6. stop the processes and remove the folder, whatever happened before
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DOCKER_HUB, type ImageReference } from '@shoal/oci';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { imageName, referenceOf } from '../image-argument.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { howToPull } from './how-to-pull.ts';
import { buildDemoImage, ociArchitecture, runsInContainers } from './image.ts';
import type { WrittenImage } from './image-layout.ts';
import { type Interruption, listenForInterruption } from './interruption.ts';
import { nodeSources } from './node-metrics.ts';
import { ProgressDisplay } from './progress.ts';
import { type DemoNumbers, demoJson, demoReport, megabytes, type NodeNumbers } from './report.ts';
import { type PullOutcome, SimultaneousPulls } from './simultaneous-pulls.ts';
import { makeTemporaryFolder, type TemporaryFolder } from './temporary-folder.ts';

/** `.test` never is a real host (RFC 6761). */
const DEMO_IMAGE: ImageReference & { tag: string } = {
  registry: 'demo.shoal.test',
  repository: 'shoal/demo',
  tag: 'latest',
};

export interface DemoOptions {
  nodes: number;
  /** Undefined: the image assembled from this checkout. */
  image: ImageReference | undefined;
  keep: boolean;
  json: boolean;
}

/** @throws CommandFailure unless every pull on every node was complete and identical. */
export async function runDemo(options: DemoOptions, io: CliIo): Promise<void> {
  const folder = await makeTemporaryFolder(tmpdir());
  const interruption = listenForInterruption(io, () => {
    demo.killNow();
    folder.removeNow();
  });
  const demo = new Demo(options, io, folder, interruption);
  try {
    await demo.run();
  } catch (error) {
    if (interruption.asked()) throw new CommandFailure('shoal demo: interrupted; everything was cleaned up');
    throw error instanceof CommandFailure ? error : failureOf(error);
  } finally {
    await demo.stop();
    await folder.remove();
    interruption.stopListening();
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #io: CliIo;
  readonly #folder: TemporaryFolder;
  readonly #interruption: Interruption;
  readonly #image: ImageReference;
  #cluster: Cluster | undefined;

  constructor(options: DemoOptions, io: CliIo, folder: TemporaryFolder, interruption: Interruption) {
    this.#options = options;
    this.#io = io;
    this.#folder = folder;
    this.#interruption = interruption;
    this.#image = options.image ?? DEMO_IMAGE;
  }

  async run(): Promise<void> {
    const layout = this.#options.image === undefined ? await this.#assemble() : undefined;
    const cluster = await this.#start(layout);
    const outcomes = await this.#pull(cluster);
    const numbers = await count(cluster, outcomes);
    this.#report(numbers, outcomes);
    if (this.#options.keep) await this.#keep(cluster);
    if (numbers.failedPulls > 0)
      throw new CommandFailure(`shoal demo: ${numbers.failedPulls} of ${outcomes.length} pulls failed`);
  }

  async stop(): Promise<void> {
    await this.#cluster?.stop();
  }

  killNow(): void {
    this.#cluster?.killNow();
  }

  async #assemble(): Promise<WrittenImage> {
    const startMs = performance.now();
    const layout = await buildDemoImage(
      {
        folder: join(this.#folder.path, 'image'),
        tag: DEMO_IMAGE.tag,
        nodeBinary: process.execPath,
        platform: process.platform,
        arch: process.arch,
        start: import.meta.dirname,
      },
      this.#interruption.signal,
    );
    const { totalBytes, layers } = layout;
    this.#say(`assembled an image of ${megabytes(totalBytes)} in ${layers.length} layers (${since(startMs)})`);
    if (!runsInContainers(process.platform)) {
      this.#say(`it holds this machine's ${process.platform} binaries: it can be pulled, but not run on Linux`);
    }
    await this.#folder.needs(this.#options.nodes * totalBytes);
    return layout;
  }

  async #start(layout: WrittenImage | undefined): Promise<Cluster> {
    const startMs = performance.now();
    const { nodes } = this.#options;
    const { registry, repository } = this.#image;
    this.#cluster = await startCluster({
      nodes,
      folder: this.#folder.path,
      ...(layout === undefined
        ? { registries: plainRegistry(registry) }
        : { origin: { layoutFolder: layout.folder, repository, registry } }),
      onCrash: (error) => this.#interruption.abort(error),
      signal: this.#interruption.signal,
    });
    const parts = [...(layout === undefined ? [] : ['an origin']), 'a tracker'].join(', ');
    this.#say(`started ${parts} and ${nodes} ${nodes === 1 ? 'agent' : 'agents'} (${since(startMs)})`);
    return this.#cluster;
  }

  async #pull(cluster: Cluster): Promise<PullOutcome[]> {
    const { registry, repository } = this.#image;
    const reference = referenceOf(this.#image);
    this.#say(`pulling ${imageName(this.#image)} on all of them at once\n`);
    const pulls = new SimultaneousPulls(cluster.agents);
    const { signal } = this.#interruption;
    const display = this.#options.json
      ? undefined
      : new ProgressDisplay(this.#io.stdout, () => pulls.progress(), signal);
    const platform = { os: 'linux', architecture: ociArchitecture(process.arch) };
    try {
      return await pulls.run({ registry, repository, reference, platform }, signal);
    } finally {
      display?.finish();
      this.#say('');
    }
  }

  #report(numbers: DemoNumbers, outcomes: readonly PullOutcome[]): void {
    for (const { agent, failure } of outcomes) {
      if (failure !== undefined) this.#io.stderr.write(`${agent.name}: ${failure.message}\n`);
    }
    this.#io.stdout.write(this.#options.json ? `${JSON.stringify(demoJson(numbers), null, 2)}\n` : demoReport(numbers));
  }

  /** Until a person, or a process that ends, aborts it. */
  async #keep(cluster: Cluster): Promise<void> {
    const mirrorUrls = cluster.agents.map((agent) => agent.mirrorUrl);
    const runnable = this.#options.image !== undefined || runsInContainers(process.platform);
    (this.#options.json ? this.#io.stderr : this.#io.stdout).write(howToPull(mirrorUrls, this.#image, runnable));
    const { signal } = this.#interruption;
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    if (!this.#interruption.asked()) throw signal.reason;
  }

  #say(line: string): void {
    if (!this.#options.json) this.#io.stdout.write(`${line}\n`);
  }
}

async function count(cluster: Cluster, outcomes: readonly PullOutcome[]): Promise<DemoNumbers> {
  const nodes = await Promise.all(
    outcomes.map(async ({ agent, seconds }) => ({ node: agent.name, seconds, ...nodeSources(await agent.metrics()) })),
  );
  // Without an origin of our own, what the agents read is the best that is known of what the registry sent.
  const origin = (await cluster.origin?.counts()) ?? {
    bytesSent: nodes.reduce((sum, node) => sum + node.bytesFromOrigin, 0),
    requests: nodes.reduce((sum, node) => sum + node.originRequests, 0),
  };
  const pulled = outcomes.find(({ image }) => image !== undefined)?.image;
  return {
    imageBytes: pulled?.totalBytes ?? 0,
    blobs: pulled?.objects ?? 0,
    originBytes: origin.bytesSent,
    originRequests: origin.requests,
    failedPulls: outcomes.filter(({ failure }) => failure !== undefined).length,
    perNode: nodes.map(({ originRequests: _, ...node }): NodeNumbers => node),
  };
}

/** A registry on this machine is only dialled when it is named, and speaks plain HTTP. */
function plainRegistry(registry: string): Record<string, string> {
  const isLocal = registry !== DOCKER_HUB && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(registry);
  return isLocal ? { [registry]: `http://${registry}` } : {};
}

function failureOf(error: unknown): CommandFailure {
  const message = error instanceof Error ? error.message : String(error);
  return new CommandFailure(`shoal demo: ${message}`.split('\n'), 1, { cause: error });
}

function since(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}
