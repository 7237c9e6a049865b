import { type Cluster, type ClusterAgent, startCluster, sumOf } from '@shoal/cli';
import { expect } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { DockerRegistry, registryCredentials } from '../support/daemon/docker-registry.ts';
import type { MirroredRegistry } from '../support/daemon/hosts-toml.ts';
import { buildRunnableImage, pushImage, type RunnableImage } from '../support/daemon/runnable-image.ts';

const sparePartOfCluster = 0.1;

export interface StageOptions {
  /** The image's content depends on it. */
  readonly seed: string;
  /** Where the image is pushed. */
  readonly repository: string;
  /** The registry's name in image references. @default its real `127.0.0.1:PORT` */
  readonly registryName?: string;
  /** Whether the registry wants credentials. @default false */
  readonly isPrivate?: boolean;
  /** How many agents. @default 1 */
  readonly nodes?: number;
  /** Which agents have credentials for the registry, open to all their clients, in their configuration, by index. @default none */
  readonly withCredentials?: readonly number[];
  /** Whether there is a tracker. @default true */
  readonly tracker?: boolean;
  /** Further settings of every agent. @default none */
  readonly moreArguments?: readonly string[];
}

/** What every suite starts from: a real registry that holds an image, and agents that know the registry. */
export class Stage implements AsyncDisposable {
  readonly image: RunnableImage;
  readonly registry: DockerRegistry;
  readonly cluster: Cluster;
  /** The registry as image references have it. */
  readonly registryName: string;
  readonly repository: string;
  readonly #resources: AsyncDisposableStack;
  #servedBefore = 0;

  private constructor(
    parts: { image: RunnableImage; registry: DockerRegistry; cluster: Cluster },
    options: StageOptions,
    resources: AsyncDisposableStack,
  ) {
    this.image = parts.image;
    this.registry = parts.registry;
    this.cluster = parts.cluster;
    this.registryName = options.registryName ?? parts.registry.host;
    this.repository = options.repository;
    this.#resources = resources;
  }

  static async set(options: StageOptions): Promise<Stage> {
    const isPrivate = options.isPrivate ?? false;
    await using resources = new AsyncDisposableStack();
    const image = resources.use(await buildRunnableImage({ seed: options.seed }));
    const registry = resources.use(await DockerRegistry.start({ isPrivate }));
    const destination = `${registry.host}/${options.repository}`;
    await pushImage(image, destination, isPrivate ? registryCredentials : undefined);
    const folder = resources.use(await DaemonFolder.create('nodes'));
    const name = options.registryName ?? registry.host;
    const [username, password] = registryCredentials.split(':');
    const open = { url: registry.url, username, password, 'open-to-clients': true };
    const settings = { registry: { [name]: open } };
    // JSON is YAML too.
    const configFile = await folder.write('with-credentials.yaml', JSON.stringify(settings));
    const cluster = await startCluster({
      nodes: options.nodes ?? 1,
      folder: folder.path,
      tracker: options.tracker ?? true,
      agentArguments: (index) => [
        ...(options.withCredentials?.includes(index)
          ? ['--config', configFile]
          : ['--registry', `${name}=${registry.url}`]),
        ...(options.moreArguments ?? []),
      ],
    });
    resources.defer(() => cluster.stop());
    await registry.settle();
    registry.forget();
    return new Stage({ image, registry, cluster }, options, resources.move());
  }

  /** Starts counting anew what the registry is asked and what the agents serve. All agents must be running. */
  async startCount(): Promise<void> {
    this.registry.forget();
    this.#servedBefore = await this.servedBytes();
  }

  /** What all agents have sent to container runtimes since they started, by their own count. */
  async servedBytes(): Promise<number> {
    const samples = await Promise.all(this.cluster.agents.map((agent) => agent.metrics()));
    return sumOf(samples.flat(), 'shoal_bytes_total', { source: 'client', direction: 'out' });
  }

  /** The first agent. */
  get agent(): ClusterAgent {
    const [agent] = this.cluster.agents;
    if (agent === undefined) throw new Error('a stage without agents');
    return agent;
  }

  /** `HOST:PORT` of the first agent's mirror. */
  get mirrorHost(): string {
    return new URL(this.agent.mirrorUrl).host;
  }

  /** As a runtime is told of the registry and of an agent before it. */
  mirroredBy(agent: ClusterAgent = this.agent): MirroredRegistry {
    return { registry: this.registryName, upstream: this.registry.url, mirror: agent.mirrorUrl };
  }

  /** `REGISTRY/REPOSITORY:TAG`. */
  get reference(): string {
    return `${this.registryName}/${this.repository}:${this.image.tag}`;
  }

  /**
   * The same image asked of the agent itself, by a path that starts with the registry's name. A name with a port cannot
   * be asked for in this way: image references have no place for a second colon.
   */
  get prefixedReference(): string {
    return `${this.mirrorHost}/${this.reference}`;
  }

  /**
   * Since the last count the agents served the whole image to that many runtimes, and the registry was asked by agents
   * alone, which read every byte of every blob once. A cluster may read a little twice: on a loaded machine, a lease
   * whose holder seems to have stalled is granted again.
   */
  async expectReadOnceByAgents(runtimes = 1): Promise<void> {
    await this.registry.settle();
    await this.#expectServed(runtimes);
    expect(this.registry.userAgents()).toEqual([expect.stringMatching(/^shoal\//)]);
    const reads = this.image.blobs.map((blob) => ({ ...blob, readBytes: this.registry.blobBytes(blob.digest) }));
    for (const { digest, size, readBytes } of reads) expect(readBytes, digest).toBeGreaterThanOrEqual(size);
    const spareBytes = this.cluster.agents.length === 1 ? 0 : sparePartOfCluster * this.image.totalBytes;
    const readBytes = reads.reduce((sum, read) => sum + read.readBytes, 0);
    expect(readBytes).toBeLessThanOrEqual(this.image.totalBytes + spareBytes);
  }

  /** Since the last count the agents served the whole image to a runtime, and read no blob from the registry for it. */
  async expectServedFromCluster(): Promise<void> {
    await this.registry.settle();
    await this.#expectServed(1);
    expect(this.image.blobs.flatMap(({ digest }) => this.registry.blobGets(digest))).toEqual([]);
  }

  /** Since the last count the registry answered a whole pull, and no agent asked it for anything. */
  async expectReadDirectly(): Promise<void> {
    await this.registry.settle();
    expect(this.registry.userAgents().join()).not.toContain('shoal/');
    for (const { digest } of this.image.layers) expect(this.registry.blobGets(digest)).not.toEqual([]);
  }

  async #expectServed(runtimes: number): Promise<void> {
    const servedBytes = (await this.servedBytes()) - this.#servedBefore;
    expect(servedBytes).toBeGreaterThanOrEqual(runtimes * this.image.totalBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
