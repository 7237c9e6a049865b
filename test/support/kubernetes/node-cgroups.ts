// The cgroups of a node's pods, in the hierarchies of cgroup v1: the kubelet wants all of them, and runc, too.
import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

const CGROUPS = '/sys/fs/cgroup';
const CONTROLLERS = ['blkio', 'cpu', 'cpuacct', 'cpuset', 'devices', 'freezer', 'memory', 'pids', 'systemd'];
const PREFIX = 'shoal-e2e-node-';

/** Below the machine's own cgroups, so that they can be removed with the node. */
export type NodeCgroup = `${typeof PREFIX}${string}`;

export function nodeCgroup(id: string): NodeCgroup {
  return `${PREFIX}${id}`;
}

/** Lines of shell that show a machine all hierarchies, with this cgroup in each. */
export function mountCgroups(name: NodeCgroup): string[] {
  return [
    `umount ${CGROUPS}`,
    `mount -t tmpfs -o mode=755 tmpfs ${CGROUPS}`,
    ...CONTROLLERS.flatMap((controller) => {
      const hierarchy = join(CGROUPS, controller);
      const option = controller === 'systemd' ? 'none,name=systemd' : controller;
      return [`mkdir ${hierarchy}`, `mount -t cgroup -o ${option} cgroup ${hierarchy}`, `mkdir ${hierarchy}/${name}`];
    }),
    // A group without processors and memory can hold no process.
    `for of in cpus mems; do cat ${CGROUPS}/cpuset/cpuset.$of > ${CGROUPS}/cpuset/${name}/cpuset.$of; done`,
  ];
}

/** Removes those of nodes that are gone: they outlive their processes. One in use cannot be removed, and stays. */
export async function removeDeadCgroups(): Promise<void> {
  for (const controller of CONTROLLERS) {
    for (const name of await readdir(join(CGROUPS, controller)).catch(() => [])) {
      if (name.startsWith(PREFIX)) await removeTree(join(CGROUPS, controller, name));
    }
  }
}

async function removeTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeTree(join(path, entry.name));
  }
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EBUSY' && error.code !== 'ENOENT') throw error;
  });
}
