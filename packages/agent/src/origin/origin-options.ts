/** What the origin room can be told, its defaults, and what it reports. */
import type { Logger } from 'pino';
import type { RateLane } from '../rate/rate-limit.ts';
import type { RateLimitReading } from './rate-limits.ts';

/** How to reach one registry, and leave to do so wherever it is: naming it here lifts the public-hosts-only rule. */
export interface RegistryOptions {
  /** Base address, e.g. `http://127.0.0.1:5000`. @default https://HOST, or http://HOST for loopback hosts */
  url?: string;
  username?: string;
  password?: string;
  /** Not for this room: whether every client of this node may read what user name and password open. @default false */
  openToClients?: boolean;
  /** Accept any certificate. @default false */
  insecureTls?: boolean;
  /** PEM certificates trusted beside the system's. */
  ca?: string;
}

export interface OriginDeadlines {
  /** Name look-up, TCP and TLS together. */
  dialMs: number;
  /** From the request being written to the answer's headers. Also bounds the wait for a free connection. */
  headersMs: number;
  /** The longest silence inside a body, its first byte included. Time the reader takes does not count. */
  stallMs: number;
}

export interface OriginOptions {
  /** By registry host as it stands in image names. @default none */
  registries?: Record<string, RegistryOptions>;
  /** `HOST` or `*.DOMAIN` of registries that may be asked beside those above. @default any public one */
  allowRegistries?: readonly string[];
  /** Docker's config.json or pull secrets of that form, for registries without configured credentials. @default none */
  dockerConfigs?: readonly string[];
  deadlines?: Partial<OriginDeadlines>;
  /** For blobs; requests beyond wait. Manifests and tokens have a few connections of their own. @default 16 */
  maxConnectionsPerRegistry?: number;
  /** For the User-Agent. @default 'dev' */
  version?: string;
}

export type RequestKind = 'manifest' | 'blob' | 'relay' | 'token' | 'check';

export interface OriginDependencies {
  logger: Logger;
  /** Milliseconds since the epoch. @default Date.now */
  clock?: () => number;
  /** The limit on all downloads, which the peers share: blobs wait for it, what is small only counts. @default none */
  downloadLane?: RateLane | undefined;
  /** Body bytes as they come in, of every kind of request. */
  onBytes?: (registry: string, sizeBytes: number) => void;
  /** Every request sent, redirects included; status 0 when no answer came. */
  onRequest?: ((registry: string, kind: RequestKind, status: number) => void) | undefined;
  /** What a registry said is left of its pulls. */
  onRateLimit?: ((registry: string, reading: RateLimitReading) => void) | undefined;
}

export const DEFAULT_DEADLINES: OriginDeadlines = { dialMs: 3000, headersMs: 10_000, stallMs: 2000 };
export const DEFAULT_MAX_CONNECTIONS_PER_REGISTRY = 16;
/** Manifests, tokens and look-ups: never behind a long blob. */
export const SMALL_REQUEST_CONNECTIONS = 4;
export const MAX_REDIRECTS = 5;
export const MAX_TOKENS = 1000;
export const MAX_TOKEN_ANSWER_BYTES: number = 1024 * 1024;
export const MAX_RELAY_BYTES: number = 4 * 1024 * 1024;
/** What a token without `expires_in` is worth, by the distribution specification. */
export const DEFAULT_TOKEN_LIFETIME_MS = 60_000;
