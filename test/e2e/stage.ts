import { expect } from 'vitest';
import { AgentProcess } from '../support/daemon/agent-process.ts';
import { DockerRegistry, registryCredentials } from '../support/daemon/docker-registry.ts';
import { buildRunnableImage, pushImage, type RunnableImage } from '../support/daemon/runnable-image.ts';

export interface StageOptions {
  /** The image's content depends on it. */
  readonly seed: string;
  /** Where the image is pushed. */
  readonly repository: string;
  /** The registry's name in image references; by default its real `127.0.0.1:PORT`. */
  readonly registryName?: string;
  /** Whether the registry wants credentials. @default false */
  readonly isPrivate?: boolean;
}

/** What every suite starts from: a real registry that holds an image, and an agent that knows the registry. */
export class Stage implements AsyncDisposable {
  readonly image: RunnableImage;
  readonly registry: DockerRegistry;
  /** The registry as image references have it. */
  readonly registryName: string;
  readonly repository: string;
  readonly agent: AgentProcess;

  private constructor(image: RunnableImage, registry: DockerRegistry, agent: AgentProcess, options: StageOptions) {
    this.image = image;
    this.registry = registry;
    this.agent = agent;
    this.registryName = options.registryName ?? registry.host;
    this.repository = options.repository;
  }

  static async set(options: StageOptions): Promise<Stage> {
    await using cleanup = new AsyncDisposableStack();
    const isPrivate = options.isPrivate ?? false;
    const image = cleanup.use(await buildRunnableImage({ seed: options.seed }));
    const registry = cleanup.use(await DockerRegistry.start({ isPrivate }));
    const destination = `${registry.host}/${options.repository}`;
    await pushImage(image, destination, isPrivate ? registryCredentials : undefined);
    const registries = { [options.registryName ?? registry.host]: registry.url };
    const agent = cleanup.use(await AgentProcess.start({ registries }));
    await registry.settle();
    registry.forget();
    cleanup.move();
    return new Stage(image, registry, agent, options);
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
    return `${this.agent.mirrorHost}/${this.reference}`;
  }

  /** The pull since the last count went through the agent alone, which read every byte of every blob once. */
  async expectReadOnceByAgent(): Promise<void> {
    await this.registry.settle();
    expect(this.registry.userAgents()).toEqual([expect.stringMatching(/^shoal\//)]);
    const read = this.image.blobs.map(({ digest }) => ({ digest, bytes: this.registry.blobBytes(digest) }));
    expect(read).toEqual(this.image.blobs.map(({ digest, size }) => ({ digest, bytes: size })));
  }

  /** The pull since the last count read no blob from the registry: the agent had them. */
  async expectNoBlobRead(): Promise<void> {
    await this.registry.settle();
    expect(this.image.blobs.flatMap(({ digest }) => this.registry.blobGets(digest))).toEqual([]);
  }

  /** The pull since the last count was answered by the registry without the agent. */
  async expectReadDirectly(): Promise<void> {
    await this.registry.settle();
    expect(this.registry.userAgents().join()).not.toContain('shoal/');
    for (const { digest } of this.image.layers) expect(this.registry.blobGets(digest)).not.toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.registry.stop();
    await this.image[Symbol.asyncDispose]();
  }
}
