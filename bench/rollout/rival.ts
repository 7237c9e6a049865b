/**
 * Another system on one node: a command of the user's, run by a shell inside the node's namespace. It gets to know in its
 * environment who it is, must answer as a registry mirror at BENCH_MIRROR, and is ready when something listens there.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { attempt, DaemonProcess } from '../../test/support/daemon/process.ts';
import { MIRROR_URL, REGISTRY } from '../rig/daemons.ts';
import type { Stage } from './stage.ts';

const READY_WITHIN_MS = 60_000;
const POLL_MS = 200;

export class RivalNode implements AsyncDisposable {
  readonly #process: DaemonProcess;
  readonly #forget: () => Promise<void>;

  private constructor(process: DaemonProcess, forget: () => Promise<void>) {
    this.#process = process;
    this.#forget = forget;
  }

  /** @throws with what it printed when nothing listens in time */
  static async start(command: string, stage: Stage, index: number, signal: AbortSignal): Promise<RivalNode> {
    const { hosts, folder, origin } = stage;
    const host = hosts.nodes[index]!;
    const data = `rival-${host.name}`;
    const mirror = new URL(MIRROR_URL).host;
    const { program, args } = host.namespace.command('/bin/sh', ['-c', `exec ${command}`]);
    const child = new DaemonProcess({
      name: `the rival on ${host.name}`,
      program,
      args,
      env: {
        BENCH_NODE: String(index + 1),
        BENCH_ADDRESS: host.address,
        BENCH_PEERS: hosts.nodes.map(({ address }) => address).join(','),
        BENCH_REGISTRY: REGISTRY,
        BENCH_ORIGIN: origin.url,
        BENCH_MIRROR: mirror,
        BENCH_FOLDER: await folder.make(data),
      },
    });
    const node = new RivalNode(child, () => folder.remove(data));
    await using unready = new AsyncDisposableStack();
    unready.use(node);
    const listens = host.namespace.command('/bin/sh', ['-c', `ss -Hltn | grep -q ':${new URL(MIRROR_URL).port} '`]);
    const deadlineMs = performance.now() + READY_WITHIN_MS;
    while ((await attempt(listens.program, listens.args)).code !== 0) {
      if (child.ended !== undefined) throw new Error(`${child.name} ended (${child.ended})\n${child.log}`);
      if (performance.now() > deadlineMs) throw new Error(`${child.name} does not listen on ${mirror}\n${child.log}`);
      await sleep(POLL_MS, undefined, { signal });
    }
    unready.move();
    return node;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    await this.#forget();
  }
}
