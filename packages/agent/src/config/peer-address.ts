/** Which multiaddrs an agent can use: TCP on an address or a name, and nothing on top. */
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';

const IP = new Set(['ip4', 'ip6']);
const NAME = new Set(['dns', 'dns4', 'dns6']);
const UNSPECIFIED = new Set(['0.0.0.0', '::']);

/** `/ip4/…/tcp/PORT` or `/ip6/…/tcp/PORT`. */
export function isListenAddress(text: string): boolean {
  return hostOf(text, (name) => IP.has(name)) !== undefined;
}

/** As above, or with a name in place of the address; not a wildcard and not port 0, which nobody can dial. */
export function isAnnounceAddress(text: string): boolean {
  const found = hostOf(text, (name) => IP.has(name) || NAME.has(name));
  return found !== undefined && !UNSPECIFIED.has(found.host) && found.port !== '0';
}

function hostOf(text: string, isHost: (name: string) => boolean): { host: string; port: string } | undefined {
  let address: Multiaddr;
  try {
    address = multiaddr(text);
  } catch {
    return undefined;
  }
  const [host, tcp, ...rest] = address.getComponents();
  if (host?.value === undefined || !isHost(host.name) || tcp?.name !== 'tcp' || tcp.value === undefined)
    return undefined;
  return rest.length === 0 ? { host: host.value, port: tcp.value } : undefined;
}
