// What the rig needs of the machine.
import { existsSync } from 'node:fs';
import { attempt } from '../../test/support/daemon/process.ts';

/** Why it cannot run here and what to do, in one line; undefined when it can. */
export async function obstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'it needs Linux (network namespaces and tc); run it on a Linux machine';
  if (process.getuid?.() !== 0) return 'it needs root to make network namespaces; run it with sudo';
  if (!existsSync('/usr/bin/nsenter')) return 'nsenter is not installed; install util-linux';
  for (const program of ['ip', 'tc']) {
    const { code } = await attempt(program, ['-Version']);
    if (code !== 0) return `${program} is not installed; install iproute2`;
  }
  return undefined;
}
