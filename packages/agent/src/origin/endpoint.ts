/**
 * Where a registry host is really reached, and under which rules. A registry configured by
 * name is trusted: it may be anywhere, and so may what it redirects to. Any other must be on the public internet over
 * HTTPS, redirects and token servers included.
 */
import { DOCKER_HUB, normaliseRegistryHost } from '@shoal/oci';
import { Agent, type buildConnector, type Dispatcher } from 'undici';
import { AllowList } from './allow-list.ts';
import { createConnector } from './connector.ts';
import { OriginError } from './origin-client.ts';
import { type RegistryOptions, SMALL_REQUEST_CONNECTIONS } from './origin-options.ts';
import { mayBePublicHost } from './public-address.ts';

const HUB_URL = 'https://registry-1.docker.io';
/** How long an idle connection is kept when the registry does not say; most close theirs after 5 s or more. */
const KEEP_ALIVE_MS = 4000;

export interface Endpoint {
  registry: string;
  baseUrl: URL;
  /** Configured by name. */
  trusted: boolean;
  /** Blob bodies may hold their connections for long, so that everything else has connections of its own. */
  bulk: Dispatcher;
  small: Dispatcher;
}

export interface EndpointsOptions {
  registries: Record<string, RegistryOptions>;
  dialMs: number;
  maxConnectionsPerRegistry: number;
  /** Which others may be dialled. @default any public one */
  allow?: AllowList;
}

export class Endpoints {
  readonly #configured = new Map<string, Endpoint>();
  readonly #allow: AllowList;
  /** Shared by all registries that nobody configured; an agent keeps one pool per host and drops idle ones. */
  readonly #publicAgents: { bulk: Agent; small: Agent };

  constructor(options: EndpointsOptions) {
    this.#allow = options.allow ?? new AllowList([]);
    const agents = (registry: RegistryOptions | undefined): { bulk: Agent; small: Agent } => {
      const connect = createConnector({ ...registry, dialMs: options.dialMs, publicOnly: registry === undefined });
      return {
        bulk: createAgent(connect, options.maxConnectionsPerRegistry),
        small: createAgent(connect, SMALL_REQUEST_CONNECTIONS),
      };
    };
    this.#publicAgents = agents(undefined);
    for (const [name, registry] of Object.entries(options.registries)) {
      const host = normaliseRegistryHost(name);
      if (host === undefined) throw new TypeError(`not a registry host: ${name}`);
      this.#configured.set(host, {
        registry: host,
        baseUrl: baseUrl(host, registry.url),
        trusted: true,
        ...agents(registry),
      });
    }
  }

  allowed(registry: string): boolean {
    return this.#endpoint(registry) !== undefined;
  }

  /** @throws OriginError `blocked-host` */
  find(registry: string): Endpoint {
    const endpoint = this.#endpoint(registry);
    if (endpoint === undefined) throw new OriginError('blocked-host', `registry ${registry} may not be dialled`);
    return endpoint;
  }

  async close(): Promise<void> {
    const all = [this.#publicAgents, ...this.#configured.values()];
    await Promise.all(all.flatMap(({ bulk, small }) => [bulk.destroy(), small.destroy()]));
  }

  #endpoint(registry: string): Endpoint | undefined {
    const host = normaliseRegistryHost(registry);
    if (host === undefined) return undefined;
    const configured = this.#configured.get(host);
    if (configured !== undefined) return configured;
    const url = baseUrl(host, undefined);
    if (!this.#allow.allows(host) || !mayBePublicHost(url.hostname)) return undefined;
    return { registry: host, baseUrl: url, trusted: false, ...this.#publicAgents };
  }
}

function createAgent(connect: buildConnector.connector, connections: number): Agent {
  return new Agent({
    connections,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Deadlines are kept by `exchange` and `body`, more exactly.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect,
  });
}

/** Refuses a place that this registry may not send the agent to. @throws OriginError `blocked-host` */
export function checkTarget(endpoint: Endpoint, url: URL): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new OriginError('invalid', `${endpoint.registry} points at a ${url.protocol} address`);
  }
  if (endpoint.trusted) return;
  if (url.protocol !== 'https:' || !mayBePublicHost(url.hostname)) {
    throw new OriginError('blocked-host', `${endpoint.registry} points at ${url.host}, which may not be dialled`);
  }
}

/** `/v2/`, where a registry answers for itself. */
export function registryUrl({ baseUrl }: Endpoint): URL {
  return new URL(`${baseUrl.pathname.replace(/\/+$/, '')}/v2/`, baseUrl);
}

/**
 * The address of `path` below a repository. `path` may have a query.
 * @throws OriginError `invalid` when name or path lead outside of the repository
 */
export function repositoryUrl(endpoint: Endpoint, name: string, path: string): URL {
  const root = `${endpoint.baseUrl.pathname.replace(/\/+$/, '')}/v2/${name}/`;
  const url = URL.parse(root + path, endpoint.baseUrl);
  // Dot segments, also percent-encoded, are resolved by the parser: what is left must still be below the root.
  if (url === null || url.origin !== endpoint.baseUrl.origin || !url.pathname.startsWith(root) || url.hash !== '') {
    throw new OriginError('invalid', 'not a path of a repository');
  }
  return url;
}

function baseUrl(host: string, configured: string | undefined): URL {
  if (configured !== undefined) {
    const url = URL.parse(configured);
    if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.search !== '') {
      throw new TypeError(`the address configured for ${host} is not an http or https URL`);
    }
    if (url.username !== '' || url.password !== '') {
      throw new TypeError(`credentials for ${host} belong in username and password, not in its address`);
    }
    return url;
  }
  if (host === DOCKER_HUB) return new URL(HUB_URL);
  const url = new URL(`https://${host}`);
  return isLoopback(url.hostname) ? new URL(`http://${host}`) : url;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}
