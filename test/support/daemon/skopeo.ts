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

  /**
   * Copies an image, every platform and unchanged, into an OCI layout; gives the layout's folder.
   * @param credentials `USER:PASSWORD` for the registry, if it wants any
   */
  async copyToLayout(image: string, credentials?: string): Promise<string> {
    const layout = this.#newLayout();
    await run(requireProgram('skopeo'), this.#copyArgs(image, layout, credentials), this.#options);
    return layout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }

  get #options(): { env: Record<string, string> } {
    return { env: clientEnvironment(this.#folder) };
  }

  #newLayout(): string {
    return this.#folder.join(`copy-${this.#copies++}`);
  }

  #copyArgs(image: string, layout: string, credentials?: string): string[] {
    // Skopeo 1.9 does not read CONTAINERS_REGISTRIES_CONF.
    const settings = ['--policy', this.#folder.join('policy.json')];
    settings.push('--registries-conf', this.#folder.join('registries.conf'));
    const options = ['--quiet', '--all', '--preserve-digests'];
    if (credentials !== undefined) options.push('--src-creds', credentials);
    return [...settings, 'copy', ...options, `docker://${image}`, `oci:${layout}:copy`];
  }
}
