// Real agents, and a tracker if wanted, in front of a fault-injecting origin, and two clients that judge them: skopeo, which
// fails on anything but the right bytes, and the demo's client, which can be watched and aborted.
//
//   await using cluster = await ShoalCluster.start({ origin, nodes: 2 });
//   await cluster.copy(0, image);            // skopeo through the first agent's mirror; every blob is compared
//   await cluster.pull(1, image);            // over HTTP, as containerd asks
//   expect(await cluster.bytes(1, 'origin')).toBe(0);
import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Cluster,
  type ClusterAgent,
  type ClusterTracker,
  type PulledImage,
  pullImage,
  startCluster,
  sumOf,
} from '@shoal/cli';
import { DaemonFolder } from './daemon/daemon-folder.ts';
import { Skopeo } from './daemon/skopeo.ts';
import type { FaultOrigin } from './fault-origin.ts';
import type { ImageFixture } from './image-fixture.ts';

/** The origin's name in image references; one with a port has no place in a path. */
export const registryName = 'registry.test';

export interface ShoalClusterOptions {
  readonly origin: FaultOrigin;
  /** @default 1 */
  readonly nodes?: number;
  /** @default true */
  readonly tracker?: boolean;
  readonly trackerArguments?: readonly string[];
  readonly agentArguments?: (index: number) => readonly string[];
}

export interface PullSettings {
  /** A tag or digest. @default the image's tag */
  readonly reference?: string;
  readonly onBytes?: (receivedBytes: number) => void;
  readonly signal?: AbortSignal;
}

export class ShoalCluster implements AsyncDisposable {
  readonly folder: DaemonFolder;
  readonly #cluster: Cluster;
  readonly #skopeo: Skopeo;
  readonly #crashes: readonly Error[];

  private constructor(folder: DaemonFolder, cluster: Cluster, skopeo: Skopeo, crashes: readonly Error[]) {
    this.folder = folder;
    this.#cluster = cluster;
    this.#skopeo = skopeo;
    this.#crashes = crashes;
  }

  static async start(options: ShoalClusterOptions): Promise<ShoalCluster> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await DaemonFolder.create('nodes'));
    const crashes: Error[] = [];
    const cluster = await startCluster({
      nodes: options.nodes ?? 1,
      folder: folder.path,
      tracker: options.tracker ?? true,
      registries: { [registryName]: options.origin.url },
      trackerArguments: options.trackerArguments ?? [],
      ...(options.agentArguments === undefined ? {} : { agentArguments: options.agentArguments }),
      onCrash: (error) => crashes.push(error),
    });
    resources.defer(() => cluster.stop());
    const mirrors = cluster.agents.map(({ mirrorUrl }) => ({ registry: new URL(mirrorUrl).host }));
    const skopeo = await Skopeo.start(mirrors);
    resources.move();
    return new ShoalCluster(folder, cluster, skopeo, crashes);
  }

  agent(index: number): ClusterAgent {
    const agent = this.#cluster.agents[index];
    if (agent === undefined) throw new Error(`no agent ${index}`);
    return agent;
  }

  get agents(): readonly ClusterAgent[] {
    return this.#cluster.agents;
  }

  get tracker(): ClusterTracker {
    if (this.#cluster.tracker === undefined) throw new Error('a cluster without a tracker');
    return this.#cluster.tracker;
  }

  /** Skopeo through an agent. @throws when skopeo fails, or when what it got is not the image */
  async copy(index: number, image: ImageFixture): Promise<void> {
    const mirror = new URL(this.agent(index).mirrorUrl).host;
    const layout = await this.#skopeo.copyToLayout(`${mirror}/${registryName}/${image.repository}:${image.tag}`);
    const folder = join(layout, 'blobs', 'sha256');
    const copied: string[] = [];
    for (const name of await readdir(folder)) {
      const hex = createHash('sha256')
        .update(await readFile(join(folder, name)))
        .digest('hex');
      if (hex !== name) throw new Error(`the copy of ${name} hashes to ${hex}`);
      copied.push(`sha256:${hex}`);
    }
    await rm(layout, { recursive: true });
    const wanted = [...image.manifests, ...image.blobs].map(({ digest }) => digest);
    if (copied.sort().join() !== wanted.sort().join()) throw new Error(`copied ${copied} instead of ${wanted}`);
  }

  /** The demo's client through an agent, with `ns`. @throws PullFailure, or the signal's reason */
  pull(index: number, image: ImageFixture, { reference, onBytes, signal }: PullSettings = {}): Promise<PulledImage> {
    const target = {
      mirrorUrl: this.agent(index).mirrorUrl,
      registry: registryName,
      repository: image.repository,
      reference: reference ?? image.tag,
      platform: { os: 'linux', architecture: 'amd64' },
    };
    return pullImage(target, {
      ...(onBytes === undefined ? {} : { onProgress: onBytes }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** What an agent took in from there, since it started. */
  async bytes(index: number, source: 'origin' | 'peer'): Promise<number> {
    return sumOf(await this.agent(index).metrics(), 'shoal_bytes_total', { source, direction: 'in' });
  }

  async metric(index: number, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    return sumOf(await this.agent(index).metrics(), name, labels);
  }

  /** @throws when a process of the cluster ended without having been told to */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.stop();
    await Promise.all([this.#skopeo[Symbol.asyncDispose](), this.folder[Symbol.asyncDispose]()]);
    const [crash] = this.#crashes;
    if (crash !== undefined) throw crash;
  }
}
