/**
 * Who would be told the same by a registry. Members share what an origin said only among those that ask it with the same
 * rights, and a scope is the name of such rights:
 *
 * - `public`: anonymously, at the registry's own address;
 * - undefined: with a client's own credential, with one from a docker config (a helper may give each node another one), or at this machine's own registry (`localhost:5000`), which is another one on every
 *   node; never shared;
 * - else a key derived from how the registry is reached here: its configured address, whether its certificate is looked
 *   at, user name and password. One of these differs, and the scope is another one.
 *
 * The tracker sees and keeps scopes. They are made with the cluster's join secret, and from the password with scrypt, so
 * that neither its state nor its log is of use to whoever wants to try passwords.
 */
import { createHmac, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { isThisMachine, normaliseRegistryHost } from '@shoal/oci';
import type { Asker } from '../origin/asker.ts';
import type { RegistryOptions } from '../origin/origin-options.ts';

const PUBLIC = 'public';
const SCOPE_BYTES = 32;

export interface AskingScopesOptions {
  /** As the origin room is told them. */
  registries: Readonly<Record<string, RegistryOptions>>;
  /** Whether the node may have credentials that are not among these options. @default false */
  hasDockerConfig?: boolean;
  /** The cluster's; without one there is nobody to share with. */
  joinSecret: string | undefined;
}

export class AskingScopes {
  readonly #configured: ReadonlyMap<string, RegistryOptions>;
  readonly #joinSecret: string;
  readonly #hasDockerConfig: boolean;
  /** Bounded by the configuration. */
  readonly #derived = new Map<string, Promise<string>>();

  constructor({ registries, joinSecret = '', hasDockerConfig = false }: AskingScopesOptions) {
    this.#hasDockerConfig = hasDockerConfig;
    this.#configured = new Map(
      Object.entries(registries).map(([name, options]) => [normaliseRegistryHost(name) ?? name, options]),
    );
    this.#joinSecret = joinSecret;
  }

  /** At most 64 characters; undefined when answers of this registry are nobody else's business. */
  async of(registry: string, asker: Asker = 'node'): Promise<string | undefined> {
    if (typeof asker !== 'string' || isThisMachine(registry)) return undefined;
    const configured = this.#configured.get(registry);
    if (asker === 'node' && this.#hasDockerConfig && configured?.username === undefined) return undefined;
    const options = asker === 'node' || configured === undefined ? configured : withoutCredentials(configured);
    if (options === undefined || isPlain(options)) return PUBLIC;
    const key = `${registry} ${options === configured ? 'node' : asker}`;
    const scope = this.#derived.get(key) ?? derive(this.#joinSecret, registry, options);
    this.#derived.set(key, scope);
    try {
      return await scope;
    } catch {
      // Only for want of memory: then nothing is shared for now.
      this.#derived.delete(key);
      return undefined;
    }
  }
}

function withoutCredentials(options: RegistryOptions): RegistryOptions {
  const { username, password, ...rest } = options;
  return username === undefined && password === undefined ? options : rest;
}

function isPlain({ url, insecureTls, username, password }: RegistryOptions): boolean {
  return url === undefined && insecureTls !== true && username === undefined && password === undefined;
}

async function derive(joinSecret: string, registry: string, options: RegistryOptions): Promise<string> {
  const { url, insecureTls = false, username = null, password } = options;
  const way = JSON.stringify([registry, url === undefined ? null : new URL(url).href, insecureTls, username]);
  const salt = createHmac('sha256', joinSecret).update(`shoal scope 1\n${way}`).digest();
  const key = password === undefined ? salt : await scryptAsync(password, salt, SCOPE_BYTES);
  return key.toString('base64url');
}

const scryptAsync = promisify<string, Buffer, number, Buffer>(scrypt);
