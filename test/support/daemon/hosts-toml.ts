import type { DaemonFolder } from './daemon-folder.ts';

export interface MirroredRegistry {
  /** The registry as image names have it, with its port. */
  readonly registry: string;
  /** Where the registry really is: what containerd falls back to. */
  readonly upstream: string;
  /** The mirror's base URL; undefined goes to the registry directly. */
  readonly mirror: string | undefined;
}

/** Writes `<folder>/certs.d/<registry>/hosts.toml`; gives the path of certs.d. Containerd reads it anew at every pull. */
export async function writeHostsToml(folder: DaemonFolder, settings: MirroredRegistry): Promise<string> {
  // Containerd 1.6 ignores a file that has no host table, so without a mirror the registry is named twice.
  const host = settings.mirror ?? settings.upstream;
  const toml = `server = "${settings.upstream}"\n\n[host."${host}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"\n`;
  await folder.write(`certs.d/${settings.registry}/hosts.toml`, toml);
  return folder.join('certs.d');
}
