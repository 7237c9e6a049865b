// The cgroups of a node's pods, in the hierarchies of cgroup v1: the kubelet wants all of them, and runc, too. A machine's cgroup
// namespace begins at the groups of the process that starts it, so that is where they are.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeDyingCgroup } from '../daemon/cgroup.ts';
import { CGROUP_V1_CONTROLLERS } from '../daemon/cgroup-v1.ts';
import { isAlive } from '../daemon/process.ts';

const CGROUPS = '/sys/fs/cgroup';
const PREFIX = 'shoal-e2e-node-';

/** Below the machine's own cgroups, so that they can be removed with the node. */
export type NodeCgroup = `${typeof PREFIX}${number}-${string}`;

/** The process id tells whether it is still in use. */
export function nodeCgroup(id: string): NodeCgroup {
  return `${PREFIX}${process.pid}-${id}`;
}

/** Lines of shell that show a machine all hierarchies, with this cgroup in each. */
export function mountCgroups(name: NodeCgroup): string[] {
  return [
    `umount ${CGROUPS}`,
    `mount -t tmpfs -o mode=755 tmpfs ${CGROUPS}`,
    ...CGROUP_V1_CONTROLLERS.flatMap((controller) => {
      const hierarchy = join(CGROUPS, controller);
      const option = controller === 'systemd' ? 'none,name=systemd' : controller;
      return [`mkdir ${hierarchy}`, `mount -t cgroup -o ${option} cgroup ${hierarchy}`, `mkdir ${hierarchy}/${name}`];
    }),
    // A group without processors and memory can hold no process.
    `for of in cpus mems; do cat ${CGROUPS}/cpuset/cpuset.$of > ${CGROUPS}/cpuset/${name}/cpuset.$of; done`,
  ];
}

/** Removes a node's, once its machine is gone: they outlive their processes. */
export async function removeCgroups(name: NodeCgroup): Promise<void> {
  for (const parent of await parents()) await removeDyingCgroup(join(parent, name));
}

/** Removes those of nodes whose tests were killed. */
export async function sweepCgroups(): Promise<void> {
  for (const parent of await parents()) {
    for (const name of await readdir(parent).catch(() => [])) {
      const [pid] = name.startsWith(PREFIX) ? name.slice(PREFIX.length).split('-') : [];
      if (pid !== undefined && !isAlive(Number(pid))) await removeDyingCgroup(join(parent, name), 0);
    }
  }
}

/** The groups of this process. */
async function parents(): Promise<string[]> {
  const own = new Map<string, string>();
  for (const line of (await readFile('/proc/self/cgroup', 'utf8')).trim().split('\n')) {
    const [, controller = '', ...path] = line.split(':');
    own.set(controller.replace('name=', ''), path.join(':'));
  }
  return CGROUP_V1_CONTROLLERS.map((controller) => join(CGROUPS, controller, own.get(controller) ?? '/'));
}
