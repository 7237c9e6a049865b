import { readFileSync } from 'node:fs';

/** What a node of Kubernetes needs, each in a hierarchy of its own. */
export const CGROUP_V1_CONTROLLERS = [
  'blkio',
  'cpu',
  'cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'memory',
  'pids',
  'systemd',
] as const;

/** Whether this machine has them so. Where systemd mounts `cpu,cpuacct` together, or has cgroup v2 alone, it has not. */
export function hasCgroupV1(): boolean {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  const mounted = lines.map((line) => (line.split(':')[1] ?? '').replace('name=', ''));
  return CGROUP_V1_CONTROLLERS.every((controller) => mounted.includes(controller));
}
