import { clientEnvironment, createClientFolder, type RegistryRoute } from './client-folder.ts';
import type { DaemonFolder } from './daemon-folder.ts';
import { run } from './process.ts';
import { requireProgram } from './programs.ts';

/** Podman with storage and settings of its own. */
export class Podman implements AsyncDisposable {
  readonly #folder: DaemonFolder;

  private constructor(folder: DaemonFolder) {
    this.#folder = folder;
  }

  static async start(routes: readonly RegistryRoute[]): Promise<Podman> {
    const folder = await createClientFolder('pdm', routes);
    await folder.write('containers.conf', '[engine]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n');
    const storage = `driver = "overlay"\ngraphroot = "${folder.join('root')}"\nrunroot = "${folder.join('run')}"\n`;
    await folder.write('storage.conf', `[storage]\n${storage}`);
    return new Podman(folder);
  }

  /** The files that say how registries are reached. */
  get configFile(): string {
    return this.#folder.join('registries.conf');
  }

  /** The user's folder of drop-ins to that. */
  get dropIns(): string {
    return this.#folder.join('.config/containers/registries.conf.d');
  }

  podman(args: readonly string[]): Promise<string> {
    return run(requireProgram('podman'), [...this.#globalArgs(), ...args], { env: this.#environment() });
  }

  async pull(image: string): Promise<void> {
    await this.podman(['pull', '--quiet', '--signature-policy', this.#folder.join('policy.json'), image]);
  }

  /** Mounts the image's root file system read-only; gives the folder. */
  async mountImage(image: string): Promise<string> {
    return (await this.podman(['image', 'mount', image])).trim();
  }

  async unmountImage(image: string): Promise<void> {
    await this.podman(['image', 'unmount', image]);
  }

  /** Removes an image with its layers. */
  async remove(image: string): Promise<void> {
    await this.podman(['image', 'rm', '--force', image]);
  }

  /**
   * Runs the image's entrypoint in a container without network; gives what it printed. Podman raises the limits of its
   * containers by default, which a machine may forbid even to root: these are low enough to be lowered to anywhere.
   */
  runContainer(image: string): Promise<string> {
    const options = ['--rm', '--pull', 'never', '--network', 'none', '--log-driver', 'none'];
    options.push('--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024');
    return this.podman(['run', ...options, image]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }

  #environment(): Record<string, string> {
    return {
      ...clientEnvironment(this.#folder),
      CONTAINERS_CONF: this.#folder.join('containers.conf'),
      CONTAINERS_STORAGE_CONF: this.#folder.join('storage.conf'),
    };
  }

  #globalArgs(): string[] {
    const folders = ['--root', this.#folder.join('root'), '--runroot', this.#folder.join('run')];
    return [...folders, '--tmpdir', this.#folder.join('tmp')];
  }
}
