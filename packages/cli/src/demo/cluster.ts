/**
 * A cluster on one machine: a tracker, agents and, if wanted, an origin, each a process of its own on loopback with free
 * ports and a data folder. The demo runs on it, and so do the end-to-end tests, which kill and restart its parts.
 *
 * Whoever starts a cluster owns the folder and removes it after `stop()`. No process outlives the one that started it.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import {
  type AgentReady,
  agentDaemon,
  type DaemonCare,
  type OriginReady,
  type OriginSource,
  originDaemon,
  type TrackerReady,
  trackerDaemon,
} from './cluster-daemons.ts';
import type { Daemon, DaemonError } from './daemon.ts';
import type { OriginCounts } from './origin.ts';
import { parseMetrics, type Sample } from './prometheus.ts';

const DEFAULT_READY_TIMEOUT_MS = 60_000;
/** Starting a process is all CPU; more at once only makes each of them late. */
const PARALLEL_STARTS = 4;
const ASK_TIMEOUT_MS = 5_000;

export interface ClusterOptions {
  nodes: number;
  /** Data folders are made inside: `tracker`, `node-1`, `node-2`, … */
  folder: string;
  /** Serves an image layout; agents reach it under the name `registry`. */
  origin?: OriginSource & { registry: string };
  /** Further `--registry HOST=URL` of every agent. */
  registries?: Readonly<Record<string, string>>;
  /** False: agents alone. */
  tracker?: boolean;
  trackerArguments?: readonly string[];
  /** `index` counts from 0. */
  agentArguments?: (index: number) => readonly string[];
  readyTimeoutMs?: number;
  /** A process ended without having been told to. The others run on. */
  onCrash?: (error: DaemonError) => void;
  signal?: AbortSignal;
}

/** What every process of a cluster can do. A restart keeps data and addresses. */
export interface ClusterProcess {
  readonly name: string;
  /** Undefined while it is not running. */
  readonly pid: number | undefined;
  kill(signal?: NodeJS.Signals): Promise<void>;
  restart(): Promise<void>;
  logs(): string;
}

export interface ClusterOrigin extends ClusterProcess {
  readonly url: string;
  readonly registry: string;
  counts(): Promise<OriginCounts>;
}

export interface ClusterTracker extends ClusterProcess {
  readonly url: string;
  readonly joinTokenFile: string;
  /** The page for people, with `--dashboard`. */
  readonly dashboardUrl: string | undefined;
  joinToken(): Promise<string>;
}

export interface ClusterAgent extends ClusterProcess {
  readonly mirrorUrl: string;
  readonly adminUrl: string;
  readonly peerId: string;
  /** Multiaddrs it listens on. */
  readonly peerAddresses: readonly string[];
  readonly dataFolder: string;
  metrics(): Promise<Sample[]>;
}

export interface Cluster {
  readonly origin: ClusterOrigin | undefined;
  readonly tracker: ClusterTracker | undefined;
  readonly agents: readonly ClusterAgent[];
  /** Agents first, then tracker and origin. */
  stop(): Promise<void>;
  /** SIGKILL to all, at once and without waiting. */
  killNow(): void;
}

/** @throws DaemonError when a process does not get ready; none is left running then. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const launcher = new Launcher(options.signal);
  const registry = options.origin?.registry ?? '';
  const care: DaemonCare = {
    readyTimeoutMs: options.readyTimeoutMs ?? DEFAULT_READY_TIMEOUT_MS,
    onCrash: options.onCrash ?? (() => {}),
  };
  try {
    const [origin, tracker] = await Promise.all([
      options.origin === undefined ? undefined : launcher.launch(originDaemon(options.origin, care)),
      options.tracker === false ? undefined : launchTracker(options, care, launcher),
    ]);
    const registries = { ...options.registries, ...(origin === undefined ? {} : { [registry]: origin.ready.url }) };
    const agents = await launchAgents(options, registries, tracker, care, launcher);
    return {
      origin: origin === undefined ? undefined : new OriginHandle(origin, registry),
      tracker: tracker === undefined ? undefined : new TrackerHandle(tracker),
      agents,
      stop: () => launcher.stop(),
      killNow: () => launcher.killNow(),
    };
  } catch (error) {
    await launcher.abandon();
    throw error;
  }
}

/** Every process of one cluster, from before it is ready until it is stopped. */
class Launcher {
  readonly #daemons: Daemon<unknown>[] = [];
  readonly #starts: Promise<void>[] = [];
  readonly #abandoned = new AbortController();
  readonly #signal: AbortSignal;
  readonly #killAtExit = (): void => this.killNow();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal === undefined ? this.#abandoned.signal : AbortSignal.any([signal, this.#abandoned.signal]);
    process.on('exit', this.#killAtExit);
  }

  async launch<Ready>(daemon: Daemon<Ready>): Promise<Daemon<Ready>> {
    this.#daemons.push(daemon as Daemon<unknown>);
    const start = daemon.start(this.#signal);
    this.#starts.push(start);
    await start;
    return daemon;
  }

  async stop(): Promise<void> {
    const agents = this.#daemons.filter((daemon) => !isService(daemon));
    await Promise.all(agents.map((daemon) => daemon.stop()));
    await Promise.all(this.#daemons.filter(isService).map((daemon) => daemon.stop()));
    process.off('exit', this.#killAtExit);
  }

  /** When one did not start: ends the others, those that are still starting too. */
  async abandon(): Promise<void> {
    this.#abandoned.abort();
    await Promise.allSettled(this.#starts);
    await this.stop();
  }

  killNow(): void {
    for (const daemon of this.#daemons) daemon.killNow();
  }
}

async function launchTracker(
  options: ClusterOptions,
  care: DaemonCare,
  launcher: Launcher,
): Promise<Daemon<TrackerReady>> {
  const dataFolder = join(options.folder, 'tracker');
  await mkdir(dataFolder, { recursive: true });
  return await launcher.launch(trackerDaemon(dataFolder, options.trackerArguments ?? [], care));
}

async function launchAgents(
  options: ClusterOptions,
  registries: Readonly<Record<string, string>>,
  tracker: Daemon<TrackerReady> | undefined,
  care: DaemonCare,
  launcher: Launcher,
): Promise<ClusterAgent[]> {
  const agents: ClusterAgent[] = new Array(options.nodes);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < options.nodes) {
      const index = next++;
      const name = `node-${index + 1}`;
      const dataFolder = join(options.folder, name);
      await mkdir(dataFolder, { recursive: true });
      const extraArguments = options.agentArguments?.(index) ?? [];
      const daemon = agentDaemon({ name, dataFolder, tracker, registries, extraArguments }, care);
      agents[index] = new AgentHandle(await launcher.launch(daemon), dataFolder);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_STARTS }, lane));
  return agents;
}

function isService(daemon: Daemon<unknown>): boolean {
  return daemon.name === 'origin' || daemon.name === 'tracker';
}

class Handle<Ready> implements ClusterProcess {
  protected readonly daemon: Daemon<Ready>;

  constructor(daemon: Daemon<Ready>) {
    this.daemon = daemon;
  }

  get name(): string {
    return this.daemon.name;
  }

  get pid(): number | undefined {
    return this.daemon.pid;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    return this.daemon.kill(signal);
  }

  restart(): Promise<void> {
    return this.daemon.restart();
  }

  logs(): string {
    return this.daemon.logs();
  }
}

class OriginHandle extends Handle<OriginReady> implements ClusterOrigin {
  readonly registry: string;

  constructor(daemon: Daemon<OriginReady>, registry: string) {
    super(daemon);
    this.registry = registry;
  }

  get url(): string {
    return this.daemon.ready.url;
  }

  async counts(): Promise<OriginCounts> {
    return JSON.parse(await ask(this.daemon.ready.controlUrl)) as OriginCounts;
  }
}

class TrackerHandle extends Handle<TrackerReady> implements ClusterTracker {
  get url(): string {
    return this.daemon.ready.url;
  }

  get joinTokenFile(): string {
    return this.daemon.ready.joinTokenFile;
  }

  get dashboardUrl(): string | undefined {
    return this.daemon.ready.dashboard;
  }

  async joinToken(): Promise<string> {
    return (await readFile(this.joinTokenFile, 'utf8')).trim();
  }
}

class AgentHandle extends Handle<AgentReady> implements ClusterAgent {
  readonly dataFolder: string;

  constructor(daemon: Daemon<AgentReady>, dataFolder: string) {
    super(daemon);
    this.dataFolder = dataFolder;
  }

  get mirrorUrl(): string {
    return this.daemon.ready.mirror;
  }

  get adminUrl(): string {
    return this.daemon.ready.admin;
  }

  get peerId(): string {
    return this.daemon.ready.peerId;
  }

  get peerAddresses(): readonly string[] {
    return this.daemon.ready.peers;
  }

  async metrics(): Promise<Sample[]> {
    return parseMetrics(await ask(new URL('/metrics', this.adminUrl).href));
  }
}

async function ask(url: string): Promise<string> {
  const { statusCode, body } = await request(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
  const answer = await body.text();
  if (statusCode !== 200) throw new Error(`${statusCode} for ${url}`);
  return answer;
}
