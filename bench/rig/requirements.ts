// What the rig needs of the machine.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { attempt } from '../../test/support/daemon/process.ts';

const CONGESTION_CONTROLS = '/proc/sys/net/ipv4/tcp_available_congestion_control';

/** Why it cannot run here and what to do, in one line; undefined when it can. */
export async function obstacle(congestionControl?: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'it needs Linux (network namespaces and tc); run it on a Linux machine';
  if (process.getuid?.() !== 0) return 'it needs root to make network namespaces; run it with sudo';
  if (!existsSync('/usr/bin/nsenter')) return 'nsenter is not installed; install util-linux';
  for (const program of ['ip', 'tc']) {
    const { code } = await attempt(program, ['-Version']);
    if (code !== 0) return `${program} is not installed; install iproute2`;
  }
  if (congestionControl === undefined) return undefined;
  const known = (await readFile(CONGESTION_CONTROLS, 'utf8')).trim().split(' ');
  if (known.includes(congestionControl)) return undefined;
  return `the kernel has no congestion control ${congestionControl}; load it (modprobe tcp_${congestionControl}) or choose another with --congestion: ${known.join(', ')}`;
}
