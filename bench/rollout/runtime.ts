/**
 * One node's container runtime: a real containerd with a root of its own, inside the node's namespaces. It is asked to pull
 * as a kubelet asks (CRI), so containerd itself does all the fetching, and unpacks layers as they come.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, type FSWatcher, watch } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { containerdConfiguration } from '../../test/support/daemon/containerd-config.ts';
import { criPullImage } from '../../test/support/daemon/cri.ts';
import { DaemonFolder } from '../../test/support/daemon/daemon-folder.ts';
import { type MirroredRegistry, writeHostsToml } from '../../test/support/daemon/hosts-toml.ts';
import { DaemonProcess } from '../../test/support/daemon/process.ts';
import { requireProgram } from '../../test/support/daemon/programs.ts';
import type { Host } from '../rig/rig-network.ts';
import type { BenchImage } from './image.ts';

const UNSHARE = '/usr/bin/unshare';

export interface RuntimePull {
  /** From the order to the moment when the last layer was complete and verified. */
  readonly lastLayerSeconds: number | undefined;
  /** To the moment when a container could start. */
  readonly unpackedSeconds: number | undefined;
  readonly failure: string | undefined;
}

export class NodeRuntime implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #process: DaemonProcess;

  private constructor(host: Host, folder: DaemonFolder, config: string) {
    this.#folder = folder;
    const containerd = [requireProgram('containerd'), '--config', config];
    // Mounts of its own end with it, also when it is killed in the middle of an unpacking.
    const { program, args } = host.namespace.command(UNSHARE, ['--mount', '--propagation', 'private', ...containerd]);
    this.#process = new DaemonProcess({ name: `containerd of ${host.name}`, program, args });
  }

  /** @param path an empty folder; gone with the runtime. @throws when it does not get ready */
  static async start(host: Host, path: string): Promise<NodeRuntime> {
    const folder = new DaemonFolder(path);
    const config = await folder.write('config.toml', containerdConfiguration(folder));
    const runtime = new NodeRuntime(host, folder, config);
    await using unready = new AsyncDisposableStack();
    unready.use(runtime);
    // Containerd itself makes it with the first blob; it is watched from before that.
    await mkdir(runtime.#blobs, { recursive: true });
    await runtime.#process.ready(() => existsSync(runtime.#socket));
    unready.move();
    return runtime;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async route(settings: MirroredRegistry): Promise<void> {
    await writeHostsToml(this.#folder, settings);
  }

  /** Never throws. */
  async pull(reference: string, image: BenchImage, timeoutMs: number): Promise<RuntimePull> {
    const startedMs = performance.now();
    const seconds = (): number => (performance.now() - startedMs) / 1_000;
    const waiting = new Set(image.layers.map(({ digest }) => digest.slice('sha256:'.length)));
    let lastLayerSeconds: number | undefined;
    const come = (name: string | null): void => {
      if (name !== null && waiting.delete(name) && waiting.size === 0) lastLayerSeconds = seconds();
    };
    for (const name of [...waiting]) if (existsSync(join(this.#blobs, name))) come(name);
    const watcher: FSWatcher = watch(this.#blobs, (_event, name) => come(name));
    try {
      await criPullImage(this.#socket, reference, { timeoutMs });
      const unpackedSeconds = seconds();
      return { lastLayerSeconds: lastLayerSeconds ?? unpackedSeconds, unpackedSeconds, failure: undefined };
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error);
      return { lastLayerSeconds, unpackedSeconds: undefined, failure };
    } finally {
      watcher.close();
    }
  }

  /** Whether everything of the image is here and hashes to its name. */
  async holds(image: BenchImage): Promise<boolean> {
    for (const { digest } of [image.manifest, image.config, ...image.layers]) {
      const hash = createHash('sha256');
      const path = join(this.#blobs, digest.slice('sha256:'.length));
      const isHere = await pipeline(createReadStream(path), hash).then(
        () => true,
        () => false,
      );
      if (!isHere || `sha256:${hash.digest('hex')}` !== digest) return false;
    }
    return true;
  }

  get #socket(): string {
    return this.#folder.join('containerd.sock');
  }

  get #blobs(): string {
    return this.#folder.join('root', 'io.containerd.content.v1.content', 'blobs', 'sha256');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await this.#folder[Symbol.asyncDispose]();
  }
}
