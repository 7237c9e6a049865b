/** The runtimes that can be set up: how each is configured, proven and restarted. */
import { planBuildkit } from './buildkit.ts';
import { CERTS_DIR, planContainerd } from './containerd.ts';
import { planCrio, planPodman } from './containers.ts';
import { planDocker } from './docker.ts';
import { planK3s } from './k3s.ts';
import type { Planner } from './plan.ts';
import type { Probe } from './probe.ts';

const PAUSE = 'registry.k8s.io/pause:3.10';
const HELLO = 'docker.io/library/hello-world:latest';

export interface Runtime {
  plan: Planner;
  /** Of runtimes that share their files. @default its own name */
  journal?: string;
  /** After which a change or its undoing counts. */
  restart: string;
  /** Undefined: this runtime pulls only as part of something larger. */
  probe?: (flags: { image?: string; registriesDir?: string }) => Probe;
}

export const RUNTIMES: Readonly<Record<string, Runtime>> = {
  containerd: {
    plan: planContainerd,
    restart: 'systemctl restart containerd',
    probe: ({ image = PAUSE, registriesDir = CERTS_DIR }) => ({
      image,
      commands: [
        ['crictl', '--runtime-endpoint', 'unix:///run/containerd/containerd.sock', 'pull', image],
        ['ctr', 'images', 'pull', '--hosts-dir', registriesDir, image],
      ],
      past: 'restart containerd; see that its config_path is one folder (containerd config dump), and which hosts.toml the registry has there',
    }),
  },
  docker: {
    plan: planDocker,
    restart: 'systemctl reload docker',
    probe: ({ image = HELLO }) => ({
      image,
      commands: [['docker', 'pull', image]],
      past: 'reload Docker (systemctl reload docker) and see that docker info lists the mirror; images of other registries than docker.io need the containerd image store',
    }),
  },
  podman: {
    plan: planPodman,
    journal: 'containers',
    restart: 'nothing, podman reads its files at every pull',
    probe: ({ image = HELLO }) => ({
      image,
      commands: [['podman', 'pull', image]],
      past: 'see that no file in registries.conf.d comes after zz-shoal.conf, and that CONTAINERS_REGISTRIES_CONF is not set',
    }),
  },
  crio: {
    plan: planCrio,
    journal: 'containers',
    restart: 'systemctl reload crio',
    probe: ({ image = PAUSE }) => ({
      image,
      commands: [['crictl', '--runtime-endpoint', 'unix:///var/run/crio/crio.sock', 'pull', image]],
      past: 'reload CRI-O (systemctl reload crio), and see that no file in registries.conf.d comes after zz-shoal.conf',
    }),
  },
  buildkit: { plan: planBuildkit, restart: 'systemctl restart buildkit' },
  k3s: {
    plan: planK3s,
    restart: 'systemctl restart k3s',
    probe: ({ image = PAUSE }) => ({
      image,
      commands: [['k3s', 'crictl', 'pull', image]],
      past: 'restart k3s (on an agent node: k3s-agent), which makes its certs.d from registries.yaml',
    }),
  },
};
