// A real Kubernetes of one node on a machine of its own: etcd, API server, controllers, scheduler, kubelet, proxy and DNS, a real
// containerd with Debian's CNI plugins. What a cluster of somebody's has beyond that is missing: other nodes, a network plugin that
// enforces policies, volumes.
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compiledFolder } from '../compiled.ts';
import { FreshMachine } from '../fresh-machine.ts';
import { STAND_INS, SYSTEMCTL } from '../systemctl.ts';
import { helmProgram } from './helm.ts';
import { mountCgroups, type NodeCgroup, nodeCgroup, removeCgroups } from './node-cgroups.ts';
import { KUBECONFIG, MAKE_KEYS, NODE_ADDRESS, nodeFiles, partArguments, SANDBOX_IMAGE } from './node-files.ts';
import { pauseImage } from './pause-image.ts';

/** Some seven minutes on two idle cores, once. */
export const KUBERNETES_COMPILES_WITHIN_MS = 40 * 60_000;
/** A program that is not built by Kubernetes' own scripts does not know it. */
const VERSION = {
  'k8s.io/component-base/version.gitVersion': 'v1.34.4',
  'k8s.io/component-base/version.gitMajor': '1',
  'k8s.io/component-base/version.gitMinor': '34',
};
const NODE = 'fresh';
const PROGRAMS = '/opt/kubernetes';
const STARTS_WITHIN_MS = 60_000;

/** What tells that a part of it answers. */
const PROBES: Readonly<Record<string, string>> = {
  'kube-apiserver': 'kubectl get --raw /readyz || { sleep 0.3; false; }',
  kubelet: `kubectl wait --for=condition=Ready node/${NODE} --timeout=2s || { sleep 0.3; false; }`,
  coredns: `curl -sf http://${NODE_ADDRESS}:8181/ready || { sleep 0.3; false; }`,
};

/** What the kubelet would set: these are the whole kernel's, so it finds them as it wants them and leaves them alone. */
const KERNEL_SETTINGS = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
};

export class OneNodeCluster implements AsyncDisposable {
  readonly machine: FreshMachine;
  readonly #cgroup: NodeCgroup;
  readonly #resources: AsyncDisposableStack;

  private constructor(machine: FreshMachine, cgroup: NodeCgroup, resources: AsyncDisposableStack) {
    this.machine = machine;
    this.#cgroup = cgroup;
    this.#resources = resources;
  }

  /** Needs root. Resolves when the node is ready. Compiles Kubernetes if that was not done yet. */
  static async start(): Promise<OneNodeCluster> {
    const folder = join(import.meta.dirname, 'program');
    const helm = await helmProgram();
    const kubernetes = await compiledFolder(folder, 'kubernetes', {
      timeoutMs: KUBERNETES_COMPILES_WITHIN_MS,
      variables: VERSION,
    });
    const cgroup = nodeCgroup(randomBytes(6).toString('hex'));
    await using unready = new AsyncDisposableStack();
    unready.defer(() => removeCgroups(cgroup));
    const machine = unready.use(
      await FreshMachine.start({
        env: { KUBECONFIG, PATH: `${PROGRAMS}:${STAND_INS}:/usr/sbin:/usr/bin:/sbin:/bin` },
      }),
    );
    await machine.copyIn(kubernetes, `${PROGRAMS}/kubernetes`);
    await machine.copyIn(helm, `${PROGRAMS}/helm`);
    const cluster = new OneNodeCluster(machine, cgroup, unready.move());
    await using failed = new AsyncDisposableStack();
    failed.use(cluster);
    await cluster.#prepare();
    await cluster.#startParts();
    failed.move();
    return cluster;
  }

  async #prepare(): Promise<void> {
    const { machine } = this;
    for (const [path, text] of Object.entries(nodeFiles(NODE, this.#cgroup))) await machine.write(path, text, 0o600);
    await machine.run(
      [
        'set -e',
        ...Object.keys(partArguments(NODE)).map((part) => `ln -s kubernetes ${PROGRAMS}/${part}`),
        `ln -s kubernetes ${PROGRAMS}/kubectl`,
        MAKE_KEYS,
        // Mounts that a container shares with its node go both ways.
        'mount --make-rshared /',
        'mknod -m 600 /dev/kmsg c 1 11',
        ...mountCgroups(this.#cgroup),
        ...Object.entries(KERNEL_SETTINGS).map(([name, value]) => {
          const file = `/run/${name.replaceAll('/', '.')}`;
          return `echo ${value} > ${file}; mount --bind ${file} /proc/sys/${name}`;
        }),
        'ip link add eth0 type veth peer name nowhere',
        `ip addr add ${NODE_ADDRESS}/24 dev eth0`,
        'ip link set eth0 up; ip link set nowhere up',
        'ip route add default via 192.0.2.254',
        'echo 1 > /proc/sys/net/ipv4/ip_forward',
      ].join('\n'),
    );
  }

  /** Starts everything, and waits until the node can run pods. */
  async #startParts(): Promise<void> {
    const { machine } = this;
    await machine.write(`${STAND_INS}/systemctl`, SYSTEMCTL, 0o755);
    await writeFile(`${machine.root}/run/pause.tar`, await pauseImage(SANDBOX_IMAGE));
    await this.restartContainerd();
    await machine.run('ctr --namespace k8s.io images import /run/pause.tar');
    for (const [part, args] of Object.entries(partArguments(NODE))) {
      const daemon = machine.background(part, `exec ${part} ${args.join(' ')}`);
      // What comes after a part asks it at once, and some end when they get no answer.
      const probe = PROBES[part];
      if (probe !== undefined)
        await daemon.ready(async () => (await machine.attempt(probe)).code === 0, STARTS_WITHIN_MS);
    }
  }

  /** As a node's administrator does it. */
  async restartContainerd(): Promise<void> {
    await this.machine.run('systemctl restart containerd');
    await this.machine.waitFor('ctr version');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
