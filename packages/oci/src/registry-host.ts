/**
 * Registry hosts as they appear in image references, `?ns=` and path prefixes: `HOST` or `HOST:PORT`, where an IPv6
 * host is in brackets. Two spellings of one host must give one text, because allow-lists and caches compare texts.
 */
export const DOCKER_HUB = 'docker.io';

const MAX_HOST_LENGTH = 253;
const HUB_ALIASES: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.docker.io']);
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const PORT = /^[1-9][0-9]{0,4}$/;

/**
 * Whether the first component of a reference or path is a host and not part of a repository name: it has a dot, a
 * colon, or is `localhost`.
 */
export function isRegistryHost(component: string): boolean {
  return component.includes('.') || component.includes(':') || component === 'localhost';
}

/**
 * The one spelling of a registry host: lower case, Docker Hub's aliases as `docker.io`, numeric addresses in their
 * usual form (`127.1` is `127.0.0.1`). Returns undefined for anything that is not a host with an optional port.
 */
export function normaliseRegistryHost(text: string): string | undefined {
  const split = splitPort(text.toLowerCase());
  if (split === undefined) return undefined;
  const host = canonicalHost(split.host);
  if (host === undefined) return undefined;
  if (split.port === undefined) return HUB_ALIASES.has(host) ? DOCKER_HUB : host;
  return `${host}:${split.port}`;
}

/** Whether the name is that of a registry at whichever machine looks, and so another one on every machine. */
export function isThisMachine(registry: string): boolean {
  const host = splitPort(registry)?.host ?? '';
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.[0-9.]+$/.test(host);
}

function splitPort(text: string): { host: string; port: string | undefined } | undefined {
  const hostEnd = text.startsWith('[') ? text.indexOf(']') + 1 : text.indexOf(':');
  if (text.startsWith('[') && hostEnd === 0) return undefined;
  if (hostEnd === -1 || hostEnd === text.length) return { host: text, port: undefined };
  const port = text.slice(hostEnd + 1);
  if (text[hostEnd] !== ':' || !PORT.test(port) || Number(port) > 65_535) return undefined;
  return { host: text.slice(0, hostEnd), port };
}

function canonicalHost(host: string): string | undefined {
  if (host.length > MAX_HOST_LENGTH) return undefined;
  const isIpv6 = host.startsWith('[');
  if (isIpv6 ? !/^\[[0-9a-f:.]+\]$/.test(host) : !host.split('.').every((label) => LABEL.test(label))) {
    return undefined;
  }
  return URL.parse(`http://${host}/`)?.hostname;
}
