/**
 * The way to the registries: authentication, redirects, ranges and deadlines. It retries nothing but a challenge
 * (401) and a redirect; `pull` decides what to do after a failure, because only it knows the other sources.
 * Credentials never appear in an error, a log line or an address.
 */
import type { Digest } from '@shoal/oci';
import type { Span } from '../tracing/span.ts';
import type { Asker } from './asker.ts';

/** An upstream repository. `registry` is a normalised host (`docker.io`, `ghcr.io`, `127.0.0.1:5000`). */
export interface Repository {
  registry: string;
  /** e.g. `library/alpine` */
  name: string;
}

/**
 * `blocked-host`: not on the allow-list, never dialled. `unauthorized`: 401 or 403 after every challenge was answered.
 * `not-found`: 404 (quay.io's 401 for unknown names counts as `unauthorized`). `rate-limited`: 429, `retryAfterMs` kept.
 * `refused`: any other 4xx. `unavailable`: 5xx. `unreachable`: DNS, dial, TLS or reset. `timeout`: a deadline passed.
 * `cut-short`: the body ended early. `invalid`: the answer makes no sense (wrong digest, wrong range, no digest).
 */
export type OriginErrorCode =
  | 'blocked-host'
  | 'unauthorized'
  | 'not-found'
  | 'rate-limited'
  | 'refused'
  | 'unavailable'
  | 'unreachable'
  | 'timeout'
  | 'cut-short'
  | 'invalid'
  | 'cancelled';

export class OriginError extends Error {
  readonly code: OriginErrorCode;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** The registry's own WWW-Authenticate values, of an `unauthorized` that a login may help against. */
  readonly challenge: readonly string[] | undefined;
  constructor(
    code: OriginErrorCode,
    message: string,
    options: ErrorOptions & { status?: number; retryAfterMs?: number; challenge?: readonly string[] } = {},
  ) {
    super(message, options);
    this.name = 'OriginError';
    this.code = code;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.challenge = options.challenge;
  }

  /** The same failure, with what the registry itself says about logging in. */
  withChallenge(challenge: readonly string[]): OriginError {
    const { code, message, status, retryAfterMs } = this;
    return new OriginError(code, message, {
      cause: this,
      challenge,
      ...(status === undefined ? {} : { status }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }

  /** Whether asking the same thing again can help. */
  get temporary(): boolean {
    return ['rate-limited', 'unavailable', 'unreachable', 'timeout', 'cut-short'].includes(this.code);
  }
}

export interface ResolvedManifest {
  digest: Digest;
  mediaType: string;
  sizeBytes: number;
}

export interface OriginBody {
  /** Where the bytes start: the offset asked for, or 0 when the registry ignores Range. */
  offset: number;
  /** Whether this is the answer to a Range (206), not the blob from its start (200). */
  ranged: boolean;
  /** The whole blob's size; undefined when the registry does not say. */
  sizeBytes: number | undefined;
  /** Ends normally only after the last byte; else throws OriginError (timeout on a stall, cut-short, unreachable). */
  chunks: AsyncIterable<Uint8Array>;
  /** Stops reading; safe to call at any time, any number of times. */
  close(): void;
}

export interface OriginCall {
  signal: AbortSignal;
  /** Follows one pull through the logs, and is sent upstream as X-Request-Id. */
  pullId: string;
  /** @default node */
  asker?: Asker;
  /** Called when a request goes out on a connection; before that it may wait for one. */
  onSent?: () => void;
  /** What it is done for, where that is traced. Nothing of it is sent to the registry. */
  span?: Span | undefined;
}

/**
 * How a registry lets this node in. `open`: it asks nobody who they are. `anonymous`: it gives tokens to nobody in particular, and
 * this node has no credentials for it. `accepted`, `denied`: what it makes of the node's own credentials. `wanted`: it wants a
 * login, and this node has none.
 */
export type RegistryLogin = 'open' | 'anonymous' | 'accepted' | 'denied' | 'wanted';

export interface RegistryStanding {
  /** Where it is really asked. */
  url: string;
  login: RegistryLogin;
}

export interface OriginClient {
  /** Whether this registry may be dialled at all: public hosts, and others only when configured by name. */
  allowed(registry: string): boolean;
  /** What a tag or digest is now, without reading it: HEAD, or GET where HEAD lacks a digest or fails. @throws OriginError */
  resolve(repository: Repository, reference: string, accept: string, call: OriginCall): Promise<ResolvedManifest>;
  /** Reads a manifest (at most 4 MiB) and checks it against the digest when asked by digest. @throws OriginError */
  manifest(
    repository: Repository,
    reference: string,
    accept: string,
    call: OriginCall,
  ): Promise<ResolvedManifest & { bytes: Buffer }>;
  /** Whether the repository has the blob, and its size if the registry says so; falls back from HEAD to a GET that reads nothing. */
  stat(repository: Repository, digest: Digest, call: OriginCall): Promise<{ sizeBytes: number | undefined }>;
  /** Opens a blob from `offset` up to `end` (exclusive; default the end), with Range where offset or end ask for it. @throws OriginError */
  blob(
    repository: Repository,
    digest: Digest,
    range: { offset: number; end?: number },
    call: OriginCall,
  ): Promise<OriginBody>;
  /**
   * Passes a read-only call through as it is (`tags/list`, `referrers/…`); `path` starts after the repository name. Of statuses
   * only 401 and 403 throw. @throws OriginError
   */
  relay(
    repository: Repository,
    path: string,
    call: OriginCall & { accept?: string },
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }>;
  /** Asks a registry for nothing but itself (`GET /v2/`), as the node, and for a token where it wants one. @throws OriginError */
  check(registry: string, call: Pick<OriginCall, 'signal' | 'pullId'>): Promise<RegistryStanding>;
  close(): Promise<void>;
}
