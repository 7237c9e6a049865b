// The tracker and the agents, as users run them, each inside its host's namespace.
import { DaemonProcess } from '../../test/support/daemon/process.ts';
import type { Host } from './rig-network.ts';
import { SHOAL } from './shoal-program.ts';

const TRACKER_PORT = 7_302;
const PEER_PORT = 7_301;
/** The same in every namespace: each has a loopback of its own. */
export const MIRROR_URL = 'http://127.0.0.1:7300';
export const ADMIN_URL = 'http://127.0.0.1:7303';
/** The origin's name in image references. */
export const REGISTRY = 'registry.test';

export interface TrackerPlan {
  readonly host: Host;
  readonly dataFolder: string;
}

export interface TrackerAddress {
  readonly url: string;
  readonly joinTokenFile: string;
}

export interface AgentPlan {
  readonly host: Host;
  readonly dataFolder: string;
  readonly zone: string;
  readonly tracker: TrackerAddress;
  readonly originUrl: string;
  /** Node's own. */
  readonly nodeArguments: readonly string[];
  /** Further settings of the agent. */
  readonly agentArguments?: readonly string[];
}

/** A daemon whose ready line can be waited for. */
export class ReadyDaemon<Ready> implements AsyncDisposable {
  readonly process: DaemonProcess;
  #ready: Ready | undefined;

  constructor(host: Host, args: readonly string[]) {
    const { program, args: entered } = host.namespace.command(process.execPath, args);
    this.process = new DaemonProcess({
      name: host.name,
      program,
      args: entered,
      onLine: (line, stream) => {
        if (stream === 'stdout') this.#ready ??= readyLine(line) as Ready | undefined;
      },
    });
  }

  get pid(): number {
    return this.process.pid;
  }

  /** @throws with what it printed when it ends before that, or takes too long */
  async ready(signal: AbortSignal): Promise<Ready> {
    const aborted = new Promise<never>((_, reject) => {
      signal.throwIfAborted();
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    return await Promise.race([this.process.ready(() => this.#ready), aborted]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}

export function startTracker({ host, dataFolder }: TrackerPlan): ReadyDaemon<TrackerAddress> {
  const listen = ['--listen', `${host.address}:${TRACKER_PORT}`];
  return new ReadyDaemon(host, [SHOAL, 'tracker', ...listen, '--data', dataFolder, '--log-level', 'warn']);
}

export function startAgent(plan: AgentPlan): ReadyDaemon<unknown> {
  const { host, tracker } = plan;
  return new ReadyDaemon(host, [
    ...plan.nodeArguments,
    SHOAL,
    'agent',
    ...['--mirror', new URL(MIRROR_URL).host, '--admin', new URL(ADMIN_URL).host],
    ...['--peer-listen', `/ip4/${host.address}/tcp/${PEER_PORT}`],
    ...['--data', plan.dataFolder, '--zone', plan.zone],
    ...['--tracker', tracker.url, '--join-token', `@${tracker.joinTokenFile}`],
    ...['--registry', `${REGISTRY}=${plan.originUrl}`],
    ...['--log-level', 'warn'],
    ...(plan.agentArguments ?? []),
  ]);
}

function readyLine(line: string): unknown {
  try {
    const value = JSON.parse(line) as { event?: unknown };
    return value.event === 'ready' ? value : undefined;
  } catch {
    return undefined;
  }
}
