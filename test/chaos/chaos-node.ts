/** A node: an agent with a small disk of its own, a containerd, and a link that can be cut. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMIN_URL, MIRROR_URL, REGISTRY, startAgent, type TrackerAddress } from '../../bench/rig/daemons.ts';
import type { Host } from '../../bench/rig/rig-network.ts';
import { SHOAL } from '../../bench/rig/shoal-program.ts';
import type { BenchImage } from '../../bench/rollout/image.ts';
import { NodeRuntime, type RuntimePull } from '../../bench/rollout/runtime.ts';
import { referenceOf } from '../../bench/rollout/stage.ts';
import { criRemoveImage } from '../support/daemon/cri.ts';
import type { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt, type CommandResult, run } from '../support/daemon/process.ts';
import { ChaosDaemon } from './chaos-daemon.ts';
import type { Place } from './fault.ts';

/** Less than all images take, so that blobs come and go. */
const CACHE_SIZE = '48MiB';
const MIN_FREE_DISK = '4MiB';
/** Cache, index, and blobs that are removed while somebody reads them. */
const DISK_BYTES: number = 96 * 1024 ** 2;
/** Of tmpfs: with blocks of this, nothing is left. */
const PAGE_BYTES = 4_096;

export interface NodePlan {
  readonly place: Place;
  readonly host: Host;
  readonly originUrl: string;
  readonly tracker: TrackerAddress;
  /** Of the whole run; what is below is removed with it. */
  readonly folder: DaemonFolder;
}

export class ChaosNode implements AsyncDisposable {
  readonly place: Place;
  readonly host: Host;
  readonly agent: ChaosDaemon<unknown>;
  readonly runtime: NodeRuntime;
  readonly #disk: string;
  readonly #socket: string;

  private constructor(plan: NodePlan, agent: ChaosDaemon<unknown>, runtime: NodeRuntime, paths: Paths) {
    this.place = plan.place;
    this.host = plan.host;
    this.agent = agent;
    this.runtime = runtime;
    this.#disk = paths.disk;
    this.#socket = join(paths.runtime, 'containerd.sock');
  }

  /** @throws when agent or containerd do not get ready; none of them is left running then */
  static async start(plan: NodePlan, signal: AbortSignal): Promise<ChaosNode> {
    const { place, host, folder, tracker, originUrl } = plan;
    const paths = { disk: folder.join(`disk-${place}`), runtime: folder.join(`runtime-${place}`) };
    for (const path of Object.values(paths)) await mkdir(path);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', paths.disk]);
    await using unready = new AsyncDisposableStack();
    const agent = unready.use(
      new ChaosDaemon(() =>
        startAgent({
          host,
          tracker,
          originUrl,
          zone: 'zone-1',
          dataFolder: join(paths.disk, 'data'),
          nodeArguments: [],
          agentArguments: ['--cache-size', CACHE_SIZE, '--min-free-disk', MIN_FREE_DISK],
        }),
      ),
    );
    await agent.start(signal);
    const runtime = unready.use(await NodeRuntime.start(host, paths.runtime));
    await runtime.route({ registry: REGISTRY, upstream: originUrl, mirror: MIRROR_URL });
    unready.move();
    return new ChaosNode(plan, agent, runtime, paths);
  }

  /** Never throws. */
  async pull(image: BenchImage, timeoutMs: number): Promise<RuntimePull> {
    return await this.runtime.pull(referenceOf(image), image, timeoutMs);
  }

  /** With its content: the next pull is a whole one again. One that is not there is fine. */
  async remove(image: BenchImage): Promise<void> {
    await criRemoveImage(this.#socket, referenceOf(image));
  }

  /** The digests of what its agent holds, as they lie on its disk: it need not run. */
  async held(): Promise<Set<string>> {
    const names = await readdir(join(this.#disk, 'data/blobs/sha256')).catch(() => []);
    return new Set(names.map((name) => `sha256:${name.split('@')[0]}`));
  }

  /** Writes until nothing more fits; what the agent frees meanwhile is taken as well, as far as the disk is large. */
  async fillDisk(): Promise<void> {
    const blocks = DISK_BYTES / PAGE_BYTES;
    await attempt('dd', ['if=/dev/zero', `of=${this.#filler}`, `bs=${PAGE_BYTES}`, `count=${blocks}`]);
  }

  async freeDisk(): Promise<void> {
    await rm(this.#filler, { force: true });
  }

  async isReady(): Promise<boolean> {
    const script = `fetch('${ADMIN_URL}/readyz').then((answer) => process.exit(answer.ok ? 0 : 1))`;
    return (await this.#inside(process.execPath, ['-e', script])).code === 0;
  }

  /** `shoal cache verify`, as the node's operator runs it. */
  async verify(): Promise<CommandResult> {
    return await this.#inside(process.execPath, [SHOAL, 'cache', 'verify', '--json']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime[Symbol.asyncDispose]();
    await this.agent[Symbol.asyncDispose]();
  }

  get #filler(): string {
    return join(this.#disk, 'filler');
  }

  async #inside(program: string, args: readonly string[]): Promise<CommandResult> {
    const command = this.host.namespace.command(program, args);
    return await attempt(command.program, command.args);
  }
}

interface Paths {
  readonly disk: string;
  readonly runtime: string;
}
