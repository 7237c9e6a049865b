// Trackers that share one Redis, each a process of its own that can be killed, stopped and started again where it was.
//
//   await using trackers = await SeveralTrackers.start({ store: redis.url, count: 2 });
//   const leader = await trackers.leader();
//   await leader.kill();
//   await trackers.leader();                 // the other one
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@shoal/cli';
import { openIdentity } from '@shoal/tracker';
import { Agent, request } from 'undici';
import { DaemonFolder } from './daemon/daemon-folder.ts';
import type { DaemonProcess } from './daemon/process.ts';
import { presentMain, startBuild } from './run-shoal.ts';

const leaderWithinMs = 20_000;
const askTimeoutMs = 3_000;

export interface SeveralTrackersOptions {
  /** As `--store` takes it. */
  readonly store: string;
  /** @default 2 */
  readonly count?: number;
}

export class TrackerReplica {
  readonly name: string;
  readonly #args: readonly string[];
  readonly #dispatcher: Agent;
  #process: DaemonProcess | undefined;
  #url = '';

  constructor(name: string, args: readonly string[], dispatcher: Agent) {
    this.name = name;
    this.#args = args;
    this.#dispatcher = dispatcher;
  }

  get url(): string {
    return this.#url;
  }

  /** All runs' last lines. */
  get log(): string {
    return this.#process?.log ?? '';
  }

  get runs(): boolean {
    return this.#process !== undefined && this.#process.ended === undefined;
  }

  /** At the address it had before, if it ran before. */
  async start(): Promise<void> {
    const listen = this.#url === '' ? '127.0.0.1:0' : new URL(this.#url).host;
    const { process, ready } = await startBuild(presentMain, ['tracker', '--listen', listen, ...this.#args], {
      name: this.name,
    });
    this.#process = process;
    this.#url = String(ready.url);
  }

  /** SIGTERM, as a rolling update does. */
  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** It runs and does nothing, until `resume`. */
  pause(): void {
    this.#process?.signal('SIGSTOP');
  }

  resume(): void {
    this.#process?.signal('SIGCONT');
  }

  /** The value of a metric without labels. */
  async metric(name: string): Promise<number> {
    const { body } = await request(new URL('/metrics', this.#url), {
      dispatcher: this.#dispatcher,
      signal: AbortSignal.timeout(askTimeoutMs),
    });
    const [, value] = new RegExp(`^${name} (\\S+)$`, 'm').exec(await body.text()) ?? [];
    if (value === undefined) throw new Error(`${this.name} has no metric ${name}`);
    return Number(value);
  }

  /** The status of /readyz. */
  async readiness(): Promise<number> {
    const { statusCode, body } = await request(new URL('/readyz', this.#url), {
      dispatcher: this.#dispatcher,
      signal: AbortSignal.timeout(askTimeoutMs),
    });
    await body.dump();
    return statusCode;
  }
}

export class SeveralTrackers implements AsyncDisposable {
  readonly replicas: readonly TrackerReplica[];
  readonly identityFolder: string;
  readonly joinToken: string;
  readonly #folder: DaemonFolder;
  readonly #dispatcher: Agent;

  private constructor(folder: DaemonFolder, replicas: readonly TrackerReplica[], joinToken: string, dispatcher: Agent) {
    this.#folder = folder;
    this.replicas = replicas;
    this.identityFolder = folder.path;
    this.joinToken = joinToken;
    this.#dispatcher = dispatcher;
  }

  static async start({ store, count = 2 }: SeveralTrackersOptions): Promise<SeveralTrackers> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await DaemonFolder.create('trackers'));
    const { joinToken } = await openIdentity(
      folder.path,
      createLogger({ level: 'silent', format: 'json' }, process.stderr),
    );
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
    const replicas = Array.from({ length: count }, (_, index) => {
      const args = ['--identity', folder.path, '--data', folder.join(`data-${index}`), '--store', store];
      return new TrackerReplica(`tracker-${index}`, args, dispatcher);
    });
    const trackers = resources.use(new SeveralTrackers(folder, replicas, joinToken, dispatcher));
    for (const replica of replicas) await replica.start();
    resources.move();
    return trackers;
  }

  /** Flags of an agent that knows them all; each agent asks another one first. */
  agentArguments(index: number): string[] {
    const first = index % this.replicas.length;
    const inTurn = [...this.replicas.slice(first), ...this.replicas.slice(0, first)];
    return [...inTurn.flatMap(({ url }) => ['--tracker', url]), '--join-token', this.joinToken];
  }

  /** Waits until exactly one of those that run leads. */
  async leader(): Promise<TrackerReplica> {
    const untilMs = performance.now() + leaderWithinMs;
    for (;;) {
      const running = this.replicas.filter(({ runs }) => runs);
      const leading = await Promise.all(
        running.map((replica) => replica.metric('shoal_tracker_leading').catch(() => 0)),
      );
      const leaders = running.filter((_, index) => leading[index] === 1);
      if (leaders.length > 1) throw new Error(`${leaders.map(({ name }) => name)} lead at the same time`);
      if (leaders[0] !== undefined) return leaders[0];
      if (performance.now() > untilMs) throw new Error(`no tracker leads\n${running.map(({ log }) => log).join('\n')}`);
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.#dispatcher.close();
    await this.#folder[Symbol.asyncDispose]();
  }
}
