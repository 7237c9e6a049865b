import { Containerd } from './containerd.ts';
import { DaemonFolder } from './daemon-folder.ts';
import { attempt, type CommandResult, DaemonProcess, run } from './process.ts';
import { requireProgram } from './programs.ts';

const probeTimeoutMs = 3_000;

export interface DockerdOptions {
  /** Base URLs for `--registry-mirror`: they serve docker.io alone. */
  readonly registryMirrors?: readonly string[];
  /** The content of its daemon.json. @default nothing */
  readonly config?: object;
}

/**
 * A Docker engine with data, state, socket and containerd of its own, and no network for its containers. It is given a
 * containerd because it would otherwise use the machine's, if one runs.
 */
export class Dockerd implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #containerd: Containerd;
  readonly #process: DaemonProcess;

  private constructor(folder: DaemonFolder, containerd: Containerd, args: readonly string[]) {
    this.#folder = folder;
    this.#containerd = containerd;
    this.#process = new DaemonProcess({ name: 'dockerd', program: requireProgram('dockerd'), args });
  }

  static async start(options: DockerdOptions = {}): Promise<Dockerd> {
    const [folder, containerd] = await Promise.all([DaemonFolder.create('dkd'), Containerd.start({ cri: false })]);
    // An empty file, so that the machine's /etc/docker/daemon.json is not read; the same for the client's.
    const configFile = await folder.write('daemon.json', JSON.stringify(options.config ?? {}));
    await folder.write('client/config.json', '{}');
    const args = ['--config-file', configFile, '--host', `unix://${folder.join('docker.sock')}`];
    args.push('--data-root', folder.join('data'), '--exec-root', folder.join('exec'), '--pidfile', folder.join('pid'));
    args.push('--containerd', containerd.socket, '--bridge=none', '--iptables=false', '--ip6tables=false');
    for (const mirror of options.registryMirrors ?? []) args.push('--registry-mirror', mirror);
    const dockerd = new Dockerd(folder, containerd, args);
    await using unready = new AsyncDisposableStack();
    unready.use(dockerd);
    await dockerd.#process.ready(async () => {
      const { code } = await dockerd.#tryDocker(['version'], probeTimeoutMs);
      return code === 0;
    });
    unready.move();
    return dockerd;
  }

  get configFile(): string {
    return this.#folder.join('daemon.json');
  }

  /** A folder for what setup would put into /etc/docker/certs.d; this daemon does not read it. */
  get certsDir(): string {
    return this.#folder.join('certs.d');
  }

  /** Makes it read daemon.json again, and waits until it has. */
  async reload(): Promise<void> {
    const before = this.#process.log.split('Reloaded configuration').length;
    this.#process.reload();
    await this.#process.ready(() => this.#process.log.split('Reloaded configuration').length > before);
  }

  /** For other programs that are to talk to this daemon. */
  get clientEnvironment(): Record<string, string> {
    return this.#clientEnvironment();
  }

  get log(): string {
    return this.#process.log;
  }

  #tryDocker(args: readonly string[], timeoutMs?: number): Promise<CommandResult> {
    return attempt(requireProgram('docker'), args, { env: this.#clientEnvironment(), ...(timeoutMs && { timeoutMs }) });
  }

  docker(args: readonly string[]): Promise<string> {
    return run(requireProgram('docker'), args, { env: this.#clientEnvironment() });
  }

  /** Makes an image of a folder with a Dockerfile, without network. @param builder BuildKit, or what was there before it */
  async build(
    folder: string,
    tag: string,
    builder: 'buildkit' | 'legacy',
    buildArgs: Record<string, string>,
  ): Promise<void> {
    const args = Object.entries(buildArgs).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
    const env = { ...this.#clientEnvironment(), DOCKER_BUILDKIT: builder === 'buildkit' ? '1' : '0' };
    await run(requireProgram('docker'), ['build', '--network', 'none', '--tag', tag, ...args, folder], { env });
  }

  async pull(image: string): Promise<void> {
    await this.docker(['pull', '--quiet', image]);
  }

  /** Removes an image with its layers. */
  async remove(image: string): Promise<void> {
    await this.docker(['image', 'rm', '--force', image]);
  }

  /** Runs the image's entrypoint in a container; gives what it printed. */
  runContainer(image: string): Promise<string> {
    return this.docker(['run', '--rm', '--network', 'none', '--pull', 'never', image]);
  }

  async stop(): Promise<void> {
    await this.#process.stop();
    await this.#containerd.stop();
    await this.#folder[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #clientEnvironment(): Record<string, string> {
    return { DOCKER_HOST: `unix://${this.#folder.join('docker.sock')}`, DOCKER_CONFIG: this.#folder.join('client') };
  }
}
