/** How each process of a cluster is started, and what its ready line tells. */
import { Daemon, type DaemonOptions } from './daemon.ts';

const LOOPBACK = '127.0.0.1';
/** Nobody waits for a cluster that was a demonstration. */
const DRAIN_TIMEOUT = '5s';
const ANY_PORT = `${LOOPBACK}:0`;

/** What all daemons of a cluster have in common. */
export type DaemonCare = Pick<DaemonOptions<unknown>, 'readyTimeoutMs' | 'onCrash'>;

export interface OriginSource {
  layoutFolder: string;
  repository: string;
}

export interface AgentPlan {
  name: string;
  dataFolder: string;
  tracker: Daemon<TrackerReady> | undefined;
  /** HOST → URL */
  registries: Readonly<Record<string, string>>;
  extraArguments: readonly string[];
}

export interface OriginReady {
  url: string;
  controlUrl: string;
}

export interface TrackerReady {
  url: string;
  joinTokenFile: string;
  /** The page for people, with `--dashboard`. */
  dashboard: string | undefined;
}

export interface AgentReady {
  mirror: string;
  admin: string;
  peers: readonly string[];
  peerId: string;
}

export function originDaemon(origin: OriginSource, care: DaemonCare): Daemon<OriginReady> {
  return new Daemon({
    ...care,
    name: 'origin',
    arguments: (last) => [
      ...nodeArguments('./origin-process'),
      origin.layoutFolder,
      origin.repository,
      ...(last === undefined ? [] : [portOf(last.url), portOf(last.controlUrl)]),
    ],
    readReady: (line) => ({ url: text(line, 'url'), controlUrl: text(line, 'controlUrl') }),
  });
}

export function trackerDaemon(
  dataFolder: string,
  extraArguments: readonly string[],
  care: DaemonCare,
): Daemon<TrackerReady> {
  return new Daemon({
    ...care,
    name: 'tracker',
    arguments: (last) => [
      ...nodeArguments('../main'),
      ...['tracker', '--listen', last === undefined ? ANY_PORT : new URL(last.url).host, '--data', dataFolder],
      ...extraArguments,
    ],
    readReady: (line) => ({
      url: text(line, 'url'),
      joinTokenFile: text(line, 'joinTokenFile'),
      dashboard: typeof line.dashboard === 'string' ? line.dashboard : undefined,
    }),
  });
}

export function agentDaemon(agent: AgentPlan, care: DaemonCare): Daemon<AgentReady> {
  const { tracker } = agent;
  return new Daemon({
    ...care,
    name: agent.name,
    arguments: (last) => [
      ...nodeArguments('../main'),
      ...['agent', '--name', agent.name, '--data', agent.dataFolder],
      ...['--mirror', last === undefined ? ANY_PORT : new URL(last.mirror).host],
      ...['--admin', last === undefined ? ANY_PORT : new URL(last.admin).host],
      ...['--peer-listen', listenAddress(last?.peers)],
      ...(tracker === undefined
        ? []
        : ['--tracker', tracker.ready.url, '--join-token', `@${tracker.ready.joinTokenFile}`]),
      ...['--drain-timeout', DRAIN_TIMEOUT],
      ...Object.entries(agent.registries).flatMap(([host, url]) => ['--registry', `${host}=${url}`]),
      ...agent.extraArguments,
    ],
    readReady: (line) => ({
      mirror: text(line, 'mirror'),
      admin: text(line, 'admin'),
      peerId: text(line, 'peerId'),
      peers: Array.isArray(line.peers) ? line.peers.map(String) : [],
    }),
  });
}

/** The same form this file runs in: TypeScript from the checkout, or what was built of it. */
function nodeArguments(script: string): string[] {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const file = (path: string): string => new URL(`${path}${extension}`, import.meta.url).href;
  return [
    ...(extension === '.ts' ? ['--conditions=source'] : []),
    ...['--import', file('./leash')],
    decodeURIComponent(new URL(file(script)).pathname),
  ];
}

/** The first announced address without its peer id, so that a restarted agent is found where it was. */
function listenAddress(announced: readonly string[] | undefined): string {
  const [first] = announced ?? [];
  return first?.replace(/\/p2p\/.*$/, '') ?? `/ip4/${LOOPBACK}/tcp/0`;
}

function portOf(url: string): string {
  return new URL(url).port;
}

function text(line: Readonly<Record<string, unknown>>, field: string): string {
  const value = line[field];
  if (typeof value !== 'string') throw new TypeError(`no ${field}`);
  return value;
}
