import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContainerdOptions, containerdConfiguration } from './containerd-config.ts';
import { DaemonFolder } from './daemon-folder.ts';
import { type MirroredRegistry, writeHostsToml } from './hosts-toml.ts';
import { attempt, type CommandResult, DaemonProcess, run } from './process.ts';
import { daemonEnvironment, requireProgram } from './programs.ts';

const probeTimeoutMs = 3_000;

/** A containerd with root, state and socket of its own. */
export class Containerd implements AsyncDisposable {
  readonly socket: string;
  readonly configFile: string;
  readonly #folder: DaemonFolder;
  readonly #programs: string | undefined;
  #process: DaemonProcess;

  private constructor(folder: DaemonFolder, config: string, programs: string | undefined) {
    this.#folder = folder;
    this.#programs = programs;
    this.socket = folder.join('containerd.sock');
    this.configFile = config;
    this.#process = this.#run();
  }

  static async start(options: ContainerdOptions = {}): Promise<Containerd> {
    const folder = await DaemonFolder.create('ctd');
    await mkdir(folder.join('certs.d'));
    const config = await folder.write('config.toml', containerdConfiguration(folder, options));
    const containerd = new Containerd(folder, config, options.programs);
    await using unready = new AsyncDisposableStack();
    unready.use(containerd);
    await containerd.#ready();
    unready.move();
    return containerd;
  }

  /** Ends it and begins anew, with whatever is in its configuration now. */
  async restart(): Promise<void> {
    await this.#process.stop();
    this.#process = this.#run();
    await this.#ready();
  }

  /** The folder of hosts.toml files. */
  get certsDir(): string {
    return this.#folder.join('certs.d');
  }

  #run(): DaemonProcess {
    return new DaemonProcess({
      name: 'containerd',
      program: this.#program('containerd'),
      args: ['--config', this.configFile],
      // It finds its shim there.
      env: this.#programs === undefined ? {} : { PATH: `${this.#programs}:${daemonEnvironment().PATH}` },
    });
  }

  #program(name: 'containerd' | 'ctr'): string {
    return this.#programs === undefined ? requireProgram(name) : join(this.#programs, name);
  }

  async #ready(): Promise<void> {
    await this.#process.ready(async () => (await this.tryCtr(['version'], probeTimeoutMs)).code === 0);
  }

  get log(): string {
    return this.#process.log;
  }

  /** Points a registry at a mirror, for `ctr` (with `--hosts-dir`) and for CRI alike. */
  async mirror(settings: MirroredRegistry): Promise<void> {
    await writeHostsToml(this.#folder, settings);
  }

  tryCtr(args: readonly string[], timeoutMs?: number): Promise<CommandResult> {
    return attempt(
      this.#program('ctr'),
      ['--address', this.socket, ...args],
      timeoutMs === undefined ? {} : { timeoutMs },
    );
  }

  ctr(args: readonly string[]): Promise<string> {
    return run(this.#program('ctr'), ['--address', this.socket, ...args]);
  }

  /**
   * `ctr images pull`, unpacking included.
   * @param credentials `USER:PASSWORD` for the registry, if it wants any
   */
  async pull(image: string, credentials?: string): Promise<void> {
    await this.ctr(this.#pullArgs(image, credentials));
  }

  /** As `pull`, reporting how it went. */
  tryPull(image: string, credentials?: string): Promise<CommandResult> {
    return this.tryCtr(this.#pullArgs(image, credentials));
  }

  /** Removes an image and, before it returns, all of its content and snapshots. */
  async remove(image: string, namespace = 'default'): Promise<void> {
    await this.ctr(['--namespace', namespace, 'images', 'rm', '--sync', image]);
  }

  /** Removes what no image of the namespace needs any more: CRI leaves that for later. */
  async collectGarbage(namespace: string): Promise<void> {
    const prune = ['--namespace', namespace, 'content', 'prune', 'references'];
    await this.ctr(prune);
  }

  /**
   * Runs the image's entrypoint in a container; gives what it printed. The shim writes that to a file, because `ctr`
   * opens its own pipes too late for a container that ends at once on a loaded machine.
   */
  async runContainer(image: string, namespace = 'default'): Promise<string> {
    const container = `shoal-${randomBytes(6).toString('hex')}`;
    const output = this.#folder.join(`${container}.log`);
    await this.ctr(['--namespace', namespace, 'run', '--rm', '--log-uri', `file://${output}`, image, container]);
    return await readFile(output, 'utf8');
  }

  #pullArgs(image: string, credentials: string | undefined): string[] {
    // `ctr` does not read config.toml, so it is told where hosts.toml is.
    const args = ['images', 'pull', '--hosts-dir', this.#folder.join('certs.d')];
    if (credentials !== undefined) args.push('--user', credentials);
    return [...args, image];
  }

  async stop(): Promise<void> {
    await this.#process.stop();
    await this.#folder[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
