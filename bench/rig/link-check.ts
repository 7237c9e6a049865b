// What the shaped links really carry: plain TCP streams over them, before anything else runs.
import { join } from 'node:path';
import { endHelper } from './helper.ts';
import { messageFrom } from './messages.ts';
import type { Host } from './rig-network.ts';
import type { StreamRate } from './stream-process.ts';

const SCRIPT = join(import.meta.dirname, 'stream-process.ts');
const PORT = 9_000;

/** Payload, in bytes per second. */
export interface LinkRates {
  /** One stream from the origin to one node: `u` of the bound. */
  readonly fromOrigin: number;
  /** Two nodes that send to each other at the same time; undefined with one node. */
  readonly duplex: readonly [number, number] | undefined;
}

export async function checkLinks(origin: Host, nodes: readonly Host[], signal: AbortSignal): Promise<LinkRates> {
  const [first, second] = nodes as [Host, Host | undefined];
  const fromOrigin = await streamRate(origin, first, signal);
  if (second === undefined) return { fromOrigin, duplex: undefined };
  const duplex = await Promise.all([streamRate(first, second, signal), streamRate(second, first, signal)]);
  return { fromOrigin, duplex };
}

async function streamRate(from: Host, to: Host, signal: AbortSignal): Promise<number> {
  await using processes = new AsyncDisposableStack();
  const end = (role: string, host: Host) => {
    const child = host.namespace.fork(SCRIPT, [role, from.address, `${PORT}`]);
    processes.defer(() => endHelper(child));
    return child;
  };
  await messageFrom(end('serve', from), 'ready', signal);
  const { bytesPerSecond } = await messageFrom<StreamRate>(end('read', to), 'rate', signal);
  return bytesPerSecond;
}
