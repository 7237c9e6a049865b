/**
 * Docker's `config.json`, as `docker login` writes it and a Kubernetes pull secret of the type dockerconfigjson holds it; also
 * `auth.json` of Podman and Skopeo, whose names may have paths (containers-auth.json(5)).
 *
 * { "auths": { "https://index.docker.io/v1/": { "auth": "base64(USER:PASSWORD)" }, "quay.io/org": { … } },
 *   "credHelpers": { "123.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login" }, "credsStore": "pass" }
 */
import { DOCKER_HUB, normaliseRegistryHost } from '@shoal/oci';
import { z } from 'zod';
import type { Credential } from './credentials.ts';
import type { Repository } from './origin-client.ts';

/** What Docker calls the Hub when it talks to helpers. */
const HUB_SERVER = 'https://index.docker.io/v1/';
const HELPER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
});
const configSchema = z.object({
  auths: z.record(z.string(), entrySchema).nullish(),
  credHelpers: z.record(z.string(), z.string().regex(HELPER_NAME)).nullish(),
  credsStore: z.string().regex(HELPER_NAME).or(z.literal('')).nullish(),
});

/** A program `docker-credential-NAME`, and what to ask it about. */
export interface HelperCall {
  helper: string;
  serverUrl: string;
}

export class DockerConfig {
  /** By `HOST` or `HOST/PATH`. */
  readonly #auths = new Map<string, { credential: Credential | undefined; server: string }>();
  readonly #helpers = new Map<string, HelperCall>();
  readonly #store: string | undefined;

  private constructor(config: z.output<typeof configSchema>) {
    for (const [server, entry] of Object.entries(config.auths ?? {})) {
      const name = nameOf(server);
      if (name !== undefined) this.#auths.set(name, { credential: credentialOf(entry), server });
    }
    for (const [serverUrl, helper] of Object.entries(config.credHelpers ?? {})) {
      const name = nameOf(serverUrl);
      if (name !== undefined) this.#helpers.set(name, { helper, serverUrl });
    }
    this.#store = config.credsStore || undefined;
  }

  /** Undefined when it is no such file. What is wrong is not told: the text is full of secrets. */
  static parse(text: string): DockerConfig | undefined {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return undefined;
    }
    const parsed = configSchema.safeParse(value);
    return parsed.success ? new DockerConfig(parsed.data) : undefined;
  }

  /** What the file itself holds for a repository; the longest name counts. */
  credential({ registry, name }: Repository): Credential | undefined {
    const segments = [registry, ...name.split('/')];
    for (let length = segments.length; length > 0; length--) {
      const found = this.#auths.get(segments.slice(0, length).join('/'))?.credential;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The program to be asked about a registry before the file itself counts. */
  helper(registry: string): HelperCall | undefined {
    const own = this.#helpers.get(registry);
    if (own !== undefined || this.#store === undefined) return own;
    const server = this.#auths.get(registry)?.server ?? (registry === DOCKER_HUB ? HUB_SERVER : registry);
    return { helper: this.#store, serverUrl: server };
  }
}

/** `https://HOST/v1/`, `HOST:PORT` or `HOST/PATH`, in the words of this agent. */
function nameOf(server: string): string | undefined {
  const isUrl = /^https?:\/\//.test(server);
  const [host = '', ...path] = server.replace(/^https?:\/\//, '').split('/');
  const registry = normaliseRegistryHost(host);
  const rest = isUrl ? [] : path.filter((segment) => segment !== '');
  if (registry === undefined) return undefined;
  return rest[0] === 'v1' || rest[0] === 'v2' ? registry : [registry, ...rest].join('/');
}

function credentialOf({
  auth,
  username,
  password,
  identitytoken,
}: z.output<typeof entrySchema>): Credential | undefined {
  if (identitytoken) return { identityToken: identitytoken };
  if (username && password) return { username, password };
  const text = Buffer.from(auth ?? '', 'base64').toString();
  const colon = text.indexOf(':');
  // Docker pads with NUL.
  return colon > 0
    ? { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') }
    : undefined;
}
