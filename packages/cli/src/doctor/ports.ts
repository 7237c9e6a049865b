/**
 * Whether the agent listens where it should, or could if it were started, and whether the mirror is this machine's alone. A mirror's
 * port that systemd holds for an agent that is not there (`shoal-agent.socket`) is as good as free.
 */

import { hostAndPort } from '@shoal/process/addresses';
import type { PortFact } from './facts.ts';
import { type Finding, named } from './finding.ts';
import { isLoopbackHost, isWildcardHost } from './hosts.ts';

/** The first process, which is systemd wherever sockets are handed over. */
const FIRST_PROCESS = /\(pid 1\)$/;

export interface PortDependencies {
  /** Whether something takes a connection there. */
  accepts(host: string, port: number): Promise<boolean>;
  /** Why this user could not listen there, by the system's code; undefined when nothing is in the way. */
  obstacle(host: string, port: number): Promise<string | undefined>;
  /** Who listens on a port, e.g. `nginx (pid 812)`; undefined when that cannot be known. */
  owner(port: number): Promise<string | undefined>;
}

export async function checkPorts(
  ports: readonly PortFact[],
  agentRuns: boolean,
  dependencies: PortDependencies,
): Promise<Finding> {
  const { ok, warn, fail } = named('ports');
  const looks = await Promise.all(ports.map((port) => look(port, agentRuns, dependencies)));
  const found = looks.filter((seen) => typeof seen !== 'string');
  const [first] = found;
  if (first !== undefined) {
    const details = found.map(({ detail }) => detail).join('; ');
    return fail(details, found.map(({ todo }) => todo).join('; '));
  }
  const list = looks.join(', ');
  const mirror = ports.find(({ setting }) => setting === 'mirror');
  if (mirror !== undefined && !isLoopbackHost(mirror.host)) {
    return warn(
      `the mirror at ${hostAndPort(mirror.host, mirror.port)} can be reached by others than this machine`,
      'set mirror: 127.0.0.1:7300 in /etc/shoal/agent.yaml (or --mirror), unless a firewall keeps others out',
    );
  }
  return ok(agentRuns ? list : `free: ${list}`);
}

function listed({ setting, host, port, isHandedOver }: PortFact): string {
  const holder = isHandedOver === true ? ' (held by systemd: clients wait for the agent)' : '';
  return `${nameOf(setting)} ${hostAndPort(host, port)}${holder}`;
}

/** How a port that is well is listed; else what is wrong with it. */
async function look(
  fact: PortFact,
  agentRuns: boolean,
  { accepts, obstacle, owner }: PortDependencies,
): Promise<string | { detail: string; todo: string }> {
  const { setting, host, port } = fact;
  // The system chooses one.
  if (port === 0) return listed(fact);
  const at = `${nameOf(setting)} ${hostAndPort(host, port)}`;
  const key = `${setting} in /etc/shoal/agent.yaml (or --${setting})`;
  if (agentRuns) {
    if (await accepts(isWildcardHost(host) ? loopbackOf(host) : host, port)) return listed(fact);
    return {
      detail: `${at} takes no connection, although the agent runs`,
      todo: `see its log (journalctl -u shoal-agent), and that no firewall rule drops this port on this machine; else change ${key}`,
    };
  }
  const code = await obstacle(host, port);
  if (code === undefined) return listed(fact);
  if (code === 'EADDRINUSE') {
    const who = await owner(port);
    if (setting === 'mirror' && FIRST_PROCESS.test(who ?? '')) return listed({ ...fact, isHandedOver: true });
    return {
      detail: `${at} is taken by ${who ?? 'another program'}`,
      todo: `stop ${who ?? 'it (ss -ltnp names it, as root)'}, or choose another port: ${key}`,
    };
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return { detail: `this user may not listen on ${at}`, todo: `choose a port above 1023: ${key}` };
  }
  return {
    detail: `${at} cannot be listened on (${code})`,
    todo: `choose an address of this machine (ip address): ${key}`,
  };
}

function nameOf(setting: string): string {
  return setting === 'peer-listen' ? 'peers' : setting;
}

function loopbackOf(host: string): string {
  return host.includes(':') ? '::1' : '127.0.0.1';
}
