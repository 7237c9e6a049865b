/** Where a process listens, and by which names it may be asked. */
import { type AddressInfo, isIP } from 'node:net';

/** `HOST:PORT`, IPv6 in brackets. */
export function hostAndPort(host: string, port: number | string): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** How processes of this machine reach what listens on `host`: a wildcard address stands as loopback. */
export function reachableHost(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
}

/** Of a server that listens on `host`, so that it can be used as it is. @param address as `server.address()` gives it */
export function urlOf(scheme: 'http' | 'https', host: string, address: AddressInfo | string | null): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return `${scheme}://${hostAndPort(reachableHost(host), port)}`;
}

/** Whether a host, as a request names it, is an address, or a name that no stranger can give to this machine in the DNS of the internet. */
export function isOwnName(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1');
  return isIP(name) !== 0 || !name.includes('.');
}
