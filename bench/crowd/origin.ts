// The origin, seen from the rig: a process in its own namespace that tells what it has sent.
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { endHelper } from '../rig/helper.ts';
import { messageFrom } from '../rig/messages.ts';
import type { Host } from '../rig/rig-network.ts';
import type { OriginCounts, OriginReady } from './origin-process.ts';

const SCRIPT = join(import.meta.dirname, 'origin-process.ts');
const PORT = 5_000;

export class Origin implements AsyncDisposable {
  readonly image: OriginReady;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, image: OriginReady) {
    this.#child = child;
    this.image = image;
  }

  static async start(
    host: Host,
    { layers, layerBytes }: { layers: number; layerBytes: number },
    signal: AbortSignal,
  ): Promise<Origin> {
    const child = host.namespace.fork(SCRIPT, [host.address, PORT, layers, layerBytes].map(String));
    try {
      return new Origin(child, await messageFrom<OriginReady>(child, 'ready', signal));
    } catch (error) {
      await endHelper(child);
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async counts(signal: AbortSignal): Promise<OriginCounts> {
    const counted = messageFrom<OriginCounts>(this.#child, 'counts', signal);
    this.#child.send({ type: 'count' });
    return await counted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endHelper(this.#child);
  }
}
