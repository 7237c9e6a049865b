// One node's client, seen from the rig: told to pull, watched, asked for what can only be read from its namespace.
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { NodeProgress } from '../../packages/cli/src/demo/progress.ts';
import { parseMetrics, type Sample } from '../../packages/cli/src/demo/prometheus.ts';
import { MIRROR_URL, REGISTRY } from '../rig/daemons.ts';
import { endHelper } from '../rig/helper.ts';
import { messageFrom } from '../rig/messages.ts';
import type { Host } from '../rig/rig-network.ts';
import type { Page, PageOrder, PullEnded, PullOrder, PullProgress } from './pull-process.ts';

const SCRIPT = join(import.meta.dirname, 'pull-process.ts');

export class Puller implements AsyncDisposable {
  readonly node: string;
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal;
  #received: PullProgress = { type: 'progress', receivedBytes: 0, totalBytes: undefined };
  #state: NodeProgress['state'] = 'pulling';

  private constructor(host: Host, child: ChildProcess, signal: AbortSignal) {
    this.node = host.name;
    this.#child = child;
    this.#signal = signal;
    child.on('message', (message: PullProgress | PullEnded) => {
      if (message.type === 'progress') this.#received = message;
      if (message.type === 'ended') this.#state = message.failure === undefined ? 'done' : 'failed';
    });
  }

  static async start(host: Host, image: { repository: string; tag: string }, signal: AbortSignal): Promise<Puller> {
    const child = host.namespace.fork(SCRIPT, [MIRROR_URL, REGISTRY, image.repository, image.tag]);
    await using resources = new AsyncDisposableStack();
    const puller = resources.use(new Puller(host, child, signal));
    await messageFrom(child, 'ready', signal);
    resources.move();
    return puller;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get progress(): NodeProgress {
    const { receivedBytes, totalBytes } = this.#received;
    return { node: this.node, receivedBytes, totalBytes, state: this.#state };
  }

  pull(timeoutMs: number): Promise<PullEnded> {
    const ended = messageFrom<PullEnded>(this.#child, 'ended', this.#signal);
    this.#child.send({ type: 'pull', timeoutMs } satisfies PullOrder);
    return ended;
  }

  /** Metrics of the agent here, or of anything else that this node reaches; undefined when there is no answer. */
  async metrics(url: string): Promise<Sample[] | undefined> {
    const answered = messageFrom<Page>(this.#child, 'page', this.#signal);
    this.#child.send({ type: 'read', url } satisfies PageOrder);
    const page = await answered.catch(() => undefined);
    this.#signal.throwIfAborted();
    return page === undefined ? undefined : parseMetrics(page.text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endHelper(this.#child);
  }
}
