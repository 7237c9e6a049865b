// What the processes and links of a crowd have used so far; a reading is the difference of two.

import { cpuSeconds, machineBusySeconds } from '../rig/proc.ts';
import type { LinkCount, RigNetwork } from '../rig/rig-network.ts';
import type { Crowd, CrowdHosts } from './crowd.ts';

/** In seconds of one processor. */
export interface CpuUsed {
  readonly agents: readonly number[];
  readonly clients: readonly number[];
  readonly tracker: number;
  readonly origin: number;
  readonly rig: number;
  /** Everything that runs on the machine. */
  readonly machine: number;
}

export interface LinksUsed {
  readonly origin: { readonly up: LinkCount; readonly down: LinkCount };
  readonly nodes: readonly { readonly up: LinkCount; readonly down: LinkCount }[];
}

export async function cpuUsed(crowd: Crowd): Promise<CpuUsed> {
  // A process that crashed used nothing any more; that it crashed shows in its pull.
  const all = (pids: readonly number[]) => Promise.all(pids.map((pid) => cpuSeconds(pid).catch(() => 0)));
  const [agents, clients, [tracker, origin, rig], machine] = await Promise.all([
    all(crowd.nodes.map(({ agent }) => agent.pid)),
    all(crowd.nodes.map(({ puller }) => puller.pid)),
    all([crowd.tracker.pid, crowd.origin.pid, process.pid]),
    machineBusySeconds(),
  ]);
  return { agents, clients, tracker: tracker!, origin: origin!, rig: rig!, machine };
}

export async function linksUsed(network: RigNetwork, hosts: CrowdHosts): Promise<LinksUsed> {
  const [origin, ...nodes] = await Promise.all([hosts.origin, ...hosts.nodes].map((host) => network.counts(host)));
  return { origin: origin!, nodes };
}
