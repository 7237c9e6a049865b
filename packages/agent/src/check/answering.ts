/** Which of an agent's own addresses take a connection, tried from the agent itself. */
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';

const WITHIN_MS = 1_000;
const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)/;

/** Of these multiaddrs, those where something accepts; in the given order. */
export async function answering(addresses: readonly string[], signal: AbortSignal): Promise<string[]> {
  const tried = await Promise.all(
    addresses.map(async (address) => {
      const [, host, port] = MULTIADDR.exec(address) ?? [];
      return host !== undefined && (await accepts(host, Number(port), signal));
    }),
  );
  return addresses.filter((_, index) => tried[index]);
}

/** Whether anything accepts a connection there, within a second. */
export async function accepts(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]);
  const found = await Promise.race([
    lookup(host).catch(() => undefined),
    new Promise<undefined>((resolve) => within.addEventListener('abort', () => resolve(undefined), { once: true })),
  ]);
  if (found === undefined || within.aborted) return false;
  return new Promise((resolve) => {
    const socket = connect({ host: found.address, port });
    const end = (outcome: boolean): void => {
      within.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => end(false);
    within.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
