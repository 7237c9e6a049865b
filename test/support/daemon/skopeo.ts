import { clientEnvironment, createClientFolder, type RegistryRoute } from './client-folder.ts';
import type { DaemonFolder } from './daemon-folder.ts';
import { run } from './process.ts';
import { requireProgram } from './programs.ts';

/** Skopeo with settings of its own. */
export class Skopeo implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  #copies = 0;

  private constructor(folder: DaemonFolder) {
    this.#folder = folder;
  }

  static async start(routes: readonly RegistryRoute[]): Promise<Skopeo> {
    return new Skopeo(await createClientFolder('skp', routes));
  }

  /** Copies an image, every platform and unchanged, into an OCI layout; gives the layout's folder. */
  async copyToLayout(image: string): Promise<string> {
    const layout = this.#folder.join(`copy-${this.#copies++}`);
    await run(requireProgram('skopeo'), this.#copyArgs(image, layout), { env: clientEnvironment(this.#folder) });
    return layout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }

  #copyArgs(image: string, layout: string): string[] {
    // Skopeo 1.9 does not read CONTAINERS_REGISTRIES_CONF.
    const settings = ['--policy', this.#folder.join('policy.json')];
    settings.push('--registries-conf', this.#folder.join('registries.conf'));
    return [...settings, 'copy', '--quiet', '--all', '--preserve-digests', `docker://${image}`, `oci:${layout}:copy`];
  }
}
