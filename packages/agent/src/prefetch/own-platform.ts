/** What this machine runs, in the names that images use: those of Go. */
import type { Platform } from '@shoal/oci';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** @param platform,architecture as Node names them. Containers are Linux's, also on a Mac. */
export function ownPlatform(platform: string, architecture: string): Platform {
  return {
    os: platform === 'win32' ? 'windows' : 'linux',
    architecture: ARCHITECTURES[architecture] ?? architecture,
    variant: '',
  };
}
