// A real registry (Debian's docker-registry), as the origin or as a pull-through cache in front of it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { accessLine } from '../../test/support/daemon/docker-registry.ts';
import { DaemonProcess } from '../../test/support/daemon/process.ts';
import { requireProgram } from '../../test/support/daemon/programs.ts';
import type { Host } from '../rig/rig-network.ts';

export const REGISTRY_PORT = 5_000;
const LISTENING = /listening on (?:127\.0\.0\.1|\[::\]):(\d+)/;

export interface RegistryPlan {
  /** Where its content lies; stays when it ends. */
  readonly folder: string;
  /** Without one it listens on the machine's own loopback, on any port. */
  readonly host?: Host;
  /** The registry that it is a cache of. */
  readonly cacheOf?: string;
}

export class RegistryDaemon implements AsyncDisposable {
  readonly process: DaemonProcess;
  readonly #host: Host | undefined;
  #port: string | undefined;
  #requests = 0;

  private constructor(host: Host | undefined, config: string) {
    const registry = { program: requireProgram('docker-registry'), args: ['serve', config] };
    const { program, args } = host?.namespace.command(registry.program, registry.args) ?? registry;
    this.#host = host;
    this.process = new DaemonProcess({ name: 'docker-registry', program, args, onLine: (line) => this.#read(line) });
  }

  /** @throws when it does not get ready */
  static async start({ folder, host, cacheOf }: RegistryPlan): Promise<RegistryDaemon> {
    const config = join(folder, host === undefined ? 'push.yml' : 'config.yml');
    const settings = {
      version: 0.1,
      log: { level: 'info' },
      storage: {
        filesystem: { rootdirectory: join(folder, 'data') },
        maintenance: { uploadpurging: { enabled: false } },
      },
      http: { addr: host === undefined ? '127.0.0.1:0' : `:${REGISTRY_PORT}`, secret: 'bench' },
      ...(cacheOf === undefined ? {} : { proxy: { remoteurl: cacheOf } }),
    };
    // JSON is YAML.
    await writeFile(config, JSON.stringify(settings));
    const daemon = new RegistryDaemon(host, config);
    await using unready = new AsyncDisposableStack();
    unready.use(daemon);
    await daemon.process.ready(() => daemon.#port !== undefined);
    unready.move();
    return daemon;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** As other hosts reach it. */
  get url(): string {
    return `http://${this.#host?.address ?? '127.0.0.1'}:${this.#port}`;
  }

  /** Requests answered so far, by its own log. */
  get requests(): number {
    return this.#requests;
  }

  #read(line: string): void {
    if (accessLine.test(line)) this.#requests++;
    else this.#port ??= LISTENING.exec(line)?.[1];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
  }
}
