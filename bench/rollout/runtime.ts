/**
 * One node's container runtime: a real containerd with a root of its own, inside the node's namespaces. It is asked to pull
 * as a kubelet asks (CRI), so containerd itself does all the fetching, and unpacks layers as they come.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, type FSWatcher, watch } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { criPullImage } from '../../test/support/daemon/cri.ts';
import { DaemonProcess } from '../../test/support/daemon/process.ts';
import { requireProgram } from '../../test/support/daemon/programs.ts';
import type { Host } from '../rig/rig-network.ts';
import type { BenchImage } from './image.ts';

const UNSHARE = '/usr/bin/unshare';
const DISABLED = ['btrfs', 'zfs', 'aufs', 'devmapper', 'native'].map((name) => `io.containerd.snapshotter.v1.${name}`);

/** Where a registry's images are asked for, first to last; the registry itself comes after these. */
export interface Route {
  readonly registry: string;
  readonly upstream: string;
  readonly mirrors: readonly string[];
}

export interface RuntimePull {
  /** From the order to the moment when the last layer was complete and verified. */
  readonly lastLayerSeconds: number | undefined;
  /** To the moment when a container could start. */
  readonly unpackedSeconds: number | undefined;
  readonly failure: string | undefined;
}

export class NodeRuntime implements AsyncDisposable {
  readonly #folder: string;
  readonly #process: DaemonProcess;

  private constructor(host: Host, folder: string) {
    this.#folder = folder;
    const containerd = [requireProgram('containerd'), '--config', join(folder, 'config.toml')];
    // Mounts of its own end with it, also when it is killed in the middle of an unpacking.
    const { program, args } = host.namespace.command(UNSHARE, ['--mount', '--propagation', 'private', ...containerd]);
    this.#process = new DaemonProcess({ name: `containerd of ${host.name}`, program, args });
  }

  /** @param folder empty; gone with the runtime. @throws when it does not get ready */
  static async start(host: Host, folder: string): Promise<NodeRuntime> {
    await mkdir(join(folder, 'certs.d'), { recursive: true });
    await writeFile(join(folder, 'config.toml'), configuration(folder));
    const runtime = new NodeRuntime(host, folder);
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

  /** Read anew at every pull. */
  async route({ registry, upstream, mirrors }: Route): Promise<void> {
    // Containerd 1.6 ignores a file without a host table.
    const hosts = mirrors.length > 0 ? mirrors : [upstream];
    const tables = hosts.map(
      (host) => `[host."${host}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"\n`,
    );
    await mkdir(join(this.#folder, 'certs.d', registry), { recursive: true });
    await writeFile(
      join(this.#folder, 'certs.d', registry, 'hosts.toml'),
      [`server = "${upstream}"\n`, ...tables].join('\n'),
    );
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
    return join(this.#folder, 'c.sock');
  }

  get #blobs(): string {
    return join(this.#folder, 'root', 'io.containerd.content.v1.content', 'blobs', 'sha256');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Version 2 of the file is read by containerd 1.x and migrated by 2.x. */
function configuration(folder: string): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ${JSON.stringify(DISABLED)}

[grpc]
  address = "${folder}/c.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${folder}/certs.d"
`;
}
