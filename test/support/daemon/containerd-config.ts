import type { DaemonFolder } from './daemon-folder.ts';

export interface ContainerdOptions {
  /** Whether the Kubernetes (CRI) plugin is on. @default true */
  readonly cri?: boolean;
  /** Whether it is told where registries are configured. @default true */
  readonly configPath?: boolean;
  /** A folder with its program, its shim and its client, of another version. @default Debian's */
  readonly programs?: string;
}

/** Version 2 of the file is read by containerd 1.x and migrated by 2.x. */
export function containerdConfiguration(
  folder: DaemonFolder,
  { cri = true, configPath = true }: ContainerdOptions = {},
): string {
  const disabled = ['io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.zfs'];
  disabled.push('io.containerd.snapshotter.v1.aufs', 'io.containerd.snapshotter.v1.devmapper');
  if (!cri) disabled.push('io.containerd.grpc.v1.cri');
  return `version = 2
root = "${folder.join('root')}"
state = "${folder.join('state')}"
disabled_plugins = ${JSON.stringify(disabled)}

[grpc]
  address = "${folder.join('containerd.sock')}"

[plugins."io.containerd.internal.v1.opt"]
  path = "${folder.join('opt')}"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "${folder.join('cni')}"
${configPath ? `  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = "${folder.join('certs.d')}"\n` : ''}`;
}
