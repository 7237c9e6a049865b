/** A TCP address as people write it: `127.0.0.1:7300`, `[::1]:7300`, `localhost:7300`. Port 0 takes a free one. */
export interface HostPort {
  /** An IPv6 address stands without its brackets. */
  host: string;
  port: number;
}

const HOST_PORT = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)):(\d{1,5})$/i;
const MAX_PORT = 65_535;

export function parseHostPort(text: string): HostPort | undefined {
  const match = HOST_PORT.exec(text.trim());
  if (match === null) return undefined;
  const [, ipv6, name, digits] = match;
  const host = ipv6 ?? name ?? '';
  const port = Number(digits);
  // The address parser knows the numeric forms; what it refuses (`[1:2]`, `999.1.1.1`) is no host.
  const isHost = URL.canParse(`http://${ipv6 === undefined ? host : `[${host}]`}/`);
  return isHost && port <= MAX_PORT ? { host, port } : undefined;
}
