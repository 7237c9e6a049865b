/** Hosts and multiaddrs, as far as the checks tell them apart. */
import type { PortFact } from './facts.ts';

const LISTENING = /^\/(?:ip4|ip6)\/([^/]+)\/tcp\/(\d+)/;

export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}

export function isWildcardHost(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** `/ip4/0.0.0.0/tcp/7301` as a port; undefined for what is none. */
export function portOfMultiaddr(address: string): PortFact | undefined {
  const [, host, port] = LISTENING.exec(address) ?? [];
  return host === undefined ? undefined : { setting: 'peer-listen', host, port: Number(port) };
}

export function isLoopbackMultiaddr(address: string): boolean {
  return /^\/ip4\/127\.|^\/ip6\/::1\/|^\/dns[46]?\/localhost\//.test(address);
}
