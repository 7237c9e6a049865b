/** The registry: a real one, that can be killed, stopped, and replaced for a while by one that refuses everything. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { endHelper } from '../../bench/rig/helper.ts';
import { messageFrom } from '../../bench/rig/messages.ts';
import type { Host } from '../../bench/rig/rig-network.ts';
import { REGISTRY_PORT, RegistryDaemon } from '../../bench/rollout/registry.ts';
import type { SickRegistryReady } from './sick-registry.ts';

const SICK_REGISTRY = join(import.meta.dirname, 'sick-registry.ts');

export class ChaosOrigin implements AsyncDisposable {
  readonly host: Host;
  readonly #folder: string;
  #daemon: RegistryDaemon | undefined;
  #sick: ChildProcess | undefined;

  /** @param folder with its content, and its configuration */
  constructor(host: Host, folder: string) {
    this.host = host;
    this.#folder = folder;
  }

  /** @throws when it does not get ready */
  async start(): Promise<void> {
    this.#daemon = await RegistryDaemon.start({ folder: this.#folder, host: this.host });
  }

  /** As other hosts reach it, also while it is not there. */
  get url(): string {
    return `http://${this.host.address}:${REGISTRY_PORT}`;
  }

  async kill(): Promise<void> {
    await this.#daemon?.process.kill();
    this.#daemon = undefined;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#daemon?.process.signal(signal);
  }

  async fallSick(signal: AbortSignal): Promise<void> {
    await this.kill();
    this.#sick = this.host.namespace.fork(SICK_REGISTRY, [this.host.address, `${REGISTRY_PORT}`]);
    await messageFrom<SickRegistryReady>(this.#sick, 'ready', signal);
  }

  async recover(): Promise<void> {
    if (this.#sick !== undefined) await endHelper(this.#sick);
    this.#sick = undefined;
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sick !== undefined) await endHelper(this.#sick);
    await this.#daemon?.[Symbol.asyncDispose]();
  }
}
