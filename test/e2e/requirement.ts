import type { Program } from '../support/daemon/programs.ts';

/** What each suite needs on the machine it runs on. */
export interface Requirement {
  readonly programs: readonly Program[];
  /** Whether it mounts file systems and starts containers. */
  readonly root: boolean;
  /** Whether it needs the hierarchies of cgroup v1. @default false */
  readonly cgroupV1?: boolean;
}

const origin = ['docker-registry', 'skopeo', 'busybox'] as const;

export const requirements = {
  containerd: { programs: [...origin, 'containerd', 'ctr', 'runc', 'go'], root: true },
  'containerd-cri': { programs: [...origin, 'containerd', 'ctr', 'runc', 'go'], root: true },
  'socket-activation': { programs: ['containerd', 'ctr', 'runc', 'systemd-socket-activate'], root: true },
  dockerd: { programs: [...origin, 'containerd', 'ctr', 'runc', 'dockerd', 'docker'], root: true },
  browser: { programs: ['chromium'], root: false },
  prometheus: { programs: ['promtool'], root: false },
  podman: { programs: [...origin, 'podman', 'runc'], root: true },
  skopeo: { programs: origin, root: false },
  redis: { programs: [...origin, 'redis-server', 'containerd', 'ctr', 'runc'], root: true },
  helm: { programs: ['go'], root: false },
  image: {
    programs: [
      'docker-registry',
      'containerd',
      'ctr',
      'runc',
      'dockerd',
      'docker',
      'docker-compose',
      'systemd-analyze',
      'go',
    ],
    root: true,
  },
  kubernetes: {
    programs: [
      ...[...origin, 'containerd', 'ctr', 'runc', 'dockerd', 'docker', 'redis-server'],
      ...['go', 'openssl', 'host-local', 'iptables'],
    ],
    root: true,
    cgroupV1: true,
  },
  newcomer: { programs: [...origin, 'containerd', 'ctr', 'runc', 'dockerd', 'docker', 'podman'], root: true },
  node: {
    programs: [...origin, 'containerd', 'ctr', 'runc', 'ssh', 'sshd', 'systemctl', 'systemd-analyze'],
    root: true,
  },
  systemd: { programs: ['systemd-analyze'], root: false },
} as const satisfies Record<string, Requirement>;

export type Suite = keyof typeof requirements;

/** Why a suite cannot run here; a suite that can has no entry. */
export type Obstacles = Partial<Record<Suite, string>>;
