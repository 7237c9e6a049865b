/**
 * OriginClient over undici. What each call means is here; how a request gets to a registry is in request.ts (auth),
 * redirect.ts (hops and their checks), exchange.ts (deadlines), body.ts (reading).
 */
import { createHash } from 'node:crypto';
import {
  type Digest,
  digestAlgorithm,
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  manifestMediaTypeOf,
  normaliseRegistryHost,
  parseDigest,
} from '@shoal/oci';
import type { RateLane } from '../rate/rate-limit.ts';
import { AllowList } from './allow-list.ts';
import { RegistryAuth } from './auth.ts';
import { isRanged, readBlobAnswer } from './blob-answer.ts';
import { contentLength, discard, readBody, readWhole } from './body.ts';
import { parseContentRange } from './content-range.ts';
import { type Credential, Credentials } from './credentials.ts';
import { Endpoints } from './endpoint.ts';
import type { Answer } from './exchange.ts';
import { statusFailure } from './failure.ts';
import { hedged } from './hedge.ts';
import {
  type OriginBody,
  type OriginCall,
  type OriginClient,
  OriginError,
  type RegistryStanding,
  type Repository,
  type ResolvedManifest,
} from './origin-client.ts';
import {
  DEFAULT_DEADLINES,
  DEFAULT_MAX_CONNECTIONS_PER_REGISTRY,
  MAX_RELAY_BYTES,
  type OriginDependencies,
  type OriginOptions,
  type RegistryOptions,
} from './origin-options.ts';
import { RateLimits } from './rate-limits.ts';
import { createFollow, type FollowedAnswer } from './redirect.ts';
import { RegistryCheck } from './registry-check.ts';
import { type RegistryRequest, RegistryRequester } from './request.ts';
import { SignedAddresses } from './signed-addresses.ts';

const RELAYED_HEADERS = [
  'content-type',
  'docker-content-digest',
  'docker-distribution-api-version',
  'link',
  'oci-filters-applied',
  'retry-after',
] as const;

/** Slower than almost every registry, and early enough for a second answer before a client's is due. */
const HEDGE_AFTER_MS = 3_000;
const FALLBACK_MEDIA_TYPE = 'application/octet-stream';

export function createOriginClient(options: OriginOptions, dependencies: OriginDependencies): OriginClient {
  const {
    registries = {},
    allowRegistries = [],
    dockerConfigs = [],
    maxConnectionsPerRegistry = DEFAULT_MAX_CONNECTIONS_PER_REGISTRY,
    version = 'dev',
  } = options;
  const { clock = Date.now, onBytes = () => {}, onRequest, onRateLimit, downloadLane } = dependencies;
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  const { dialMs, stallMs } = deadlines;
  const closing = new AbortController();
  const endpoints = new Endpoints({
    registries,
    dialMs,
    maxConnectionsPerRegistry,
    allow: new AllowList(allowRegistries),
  });
  const follow = createFollow({ deadlines, version }, { logger: dependencies.logger, onRequest, onRateLimit });
  const credentials = new Credentials(
    { configured: configuredCredentials(registries), dockerConfigs },
    { logger: dependencies.logger, clock, signal: closing.signal },
  );
  const auth = new RegistryAuth({ stallMs, signal: closing.signal }, { follow, clock, onBytes });
  const requester = new RegistryRequester(
    { stallMs },
    { endpoints, credentials, auth, follow, limits: new RateLimits(clock) },
  );
  const registryCheck = new RegistryCheck({ stallMs }, { endpoints, credentials, auth, follow, clock });
  return new UndiciOrigin(
    { stallMs },
    {
      endpoints,
      requester,
      registryCheck,
      addresses: new SignedAddresses(clock),
      clock,
      onBytes,
      downloadLane,
      closing,
    },
  );
}

/** @throws TypeError when one of user name and password is missing */
function configuredCredentials(registries: Record<string, RegistryOptions>): ReadonlyMap<string, Credential> {
  const found = new Map<string, Credential>();
  for (const [name, { username, password }] of Object.entries(registries)) {
    if (username === undefined && password === undefined) continue;
    if (username === undefined || password === undefined)
      throw new TypeError(`${name} needs both username and password`);
    found.set(normaliseRegistryHost(name) ?? name, { username, password });
  }
  return found;
}

interface Parts {
  endpoints: Endpoints;
  requester: RegistryRequester;
  registryCheck: RegistryCheck;
  addresses: SignedAddresses;
  clock: () => number;
  onBytes: (registry: string, sizeBytes: number) => void;
  downloadLane: RateLane | undefined;
  closing: AbortController;
}

class UndiciOrigin implements OriginClient {
  readonly #stallMs: number;
  readonly #parts: Parts;

  constructor(options: { stallMs: number }, parts: Parts) {
    this.#stallMs = options.stallMs;
    this.#parts = parts;
  }

  allowed(registry: string): boolean {
    return this.#parts.endpoints.allowed(registry);
  }

  async resolve(
    repository: Repository,
    reference: string,
    accept: string,
    call: OriginCall,
  ): Promise<ResolvedManifest> {
    const answer = await this.#askManifest('HEAD', repository, reference, accept, call);
    const { status, headers } = answer;
    await this.#discard(answer);
    if (status === 200) {
      const digest = namedDigest(reference, headers['docker-content-digest'], answer.url.host);
      const sizeBytes = contentLength(answer) ?? 0;
      const mediaType = headers['content-type'];
      // Some registries answer HEAD without a length or with 0, which no manifest has.
      if (digest !== undefined && sizeBytes > 0 && mediaType !== undefined) return { digest, mediaType, sizeBytes };
    } else if (status === 404 || status === 429) {
      throw statusFailure(answer, this.#parts.clock());
    }
    const { digest, mediaType, sizeBytes } = await this.manifest(repository, reference, accept, call);
    return { digest, mediaType, sizeBytes };
  }

  async manifest(
    repository: Repository,
    reference: string,
    accept: string,
    call: OriginCall,
  ): Promise<ResolvedManifest & { bytes: Buffer }> {
    const answer = await this.#askManifest('GET', repository, reference, accept, call);
    if (answer.status !== 200) throw await this.#refused(answer);
    const bytes = await this.#readWhole(answer, repository, MAX_MANIFEST_BYTES);
    const { host } = answer.url;
    const named = namedDigest(reference, answer.headers['docker-content-digest'], host);
    const digest = named ?? hash(bytes, 'sha256');
    if (named !== undefined && hash(bytes, digestAlgorithm(named)) !== named) {
      throw new OriginError('invalid', `${host} sent a manifest that is not ${named}`);
    }
    const mediaType = answer.headers['content-type'] ?? manifestMediaTypeOf(bytes) ?? FALLBACK_MEDIA_TYPE;
    return { digest, mediaType, sizeBytes: bytes.length, bytes };
  }

  async stat(repository: Repository, digest: Digest, call: OriginCall): Promise<{ sizeBytes: number | undefined }> {
    const answer = await this.#askRegistryForBlob(blobRequest('HEAD', repository, digest), call);
    await this.#discard(answer);
    const sizeBytes = contentLength(answer);
    if (answer.status === 200 && sizeBytes !== undefined && (sizeBytes > 0 || digest === hash('', 'sha256'))) {
      return { sizeBytes };
    }
    if (answer.status === 429) throw statusFailure(answer, this.#parts.clock());
    const firstByte = { ...blobRequest('GET', repository, digest, { range: 'bytes=0-0' }), isSmall: true };
    // HEAD on blobs lies or fails in many ways (signed addresses, proxies, ECR public): the first byte tells the truth.
    const read = await this.#askRegistryForBlob(firstByte, call);
    read.body.destroy();
    const range = parseContentRange(read.headers['content-range']);
    if (read.status === 416 && range?.sizeBytes === 0) return { sizeBytes: 0 };
    if (read.status === 206 && range !== undefined) return { sizeBytes: range.sizeBytes };
    if (read.status === 200) return { sizeBytes: contentLength(read) };
    throw statusFailure(read, this.#parts.clock());
  }

  async blob(
    repository: Repository,
    digest: Digest,
    range: { offset: number; end?: number },
    call: OriginCall,
  ): Promise<OriginBody> {
    const { offset, end } = range;
    if (offset < 0 || (end !== undefined && end <= offset)) throw new RangeError(`no bytes in [${offset}, ${end})`);
    const asked = { offset, end };
    const headers = isRanged(asked) ? { range: `bytes=${offset}-${end === undefined ? '' : end - 1}` } : {};
    const request = blobRequest('GET', repository, digest, headers);
    const answer = await hedged(
      HEDGE_AFTER_MS,
      call.signal,
      (signal, onSent) => this.#askBlob(request, digest, { ...call, signal, onSent }),
      (late) => late.body.destroy(),
    );
    try {
      const { sizeBytes, expectedBytes, maxBytes, ...start } = readBlobAnswer(answer, asked, this.#parts.clock());
      const chunks = readBody(answer, {
        stallMs: this.#stallMs,
        expectedBytes,
        maxBytes,
        onBytes: (count) => this.#parts.onBytes(repository.registry, count),
        lane: this.#parts.downloadLane,
      });
      return { ...start, sizeBytes, chunks, close: () => answer.body.destroy() };
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
  }

  async relay(
    repository: Repository,
    path: string,
    call: OriginCall & { accept?: string },
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
    const headers = call.accept === undefined ? {} : { accept: call.accept };
    const answer = await this.#parts.requester.send({ repository, kind: 'relay', method: 'GET', path, headers }, call);
    if (answer.status === 401 || answer.status === 403) throw await this.#refused(answer);
    const body = await this.#readWhole(answer, repository, MAX_RELAY_BYTES);
    const kept = RELAYED_HEADERS.flatMap((name) => {
      const value = answer.headers[name];
      return value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as const];
    });
    return { status: answer.status, headers: Object.fromEntries(kept), body };
  }

  check(registry: string, call: Pick<OriginCall, 'signal' | 'pullId'>): Promise<RegistryStanding> {
    return this.#parts.registryCheck.ask(registry, call);
  }

  async close(): Promise<void> {
    this.#parts.closing.abort();
    await this.#parts.endpoints.close();
  }

  #askManifest(
    method: 'GET' | 'HEAD',
    repository: Repository,
    reference: string,
    accept: string,
    call: OriginCall,
  ): Promise<Answer> {
    const headers = { accept: accept === '' ? MANIFEST_ACCEPT : accept };
    const path = `manifests/${reference}`;
    return this.#parts.requester.send({ repository, kind: 'manifest', method, path, headers }, call);
  }

  /** From where the registry last sent this asker, if it did; else from the registry. */
  async #askBlob(request: RegistryRequest, digest: Digest, call: OriginCall): Promise<FollowedAnswer> {
    const before = await this.#askWhereItWas(request, digest, call);
    if (before !== undefined) return before;
    const answer = await this.#askRegistryForBlob(request, call);
    const isServed = answer.status === 200 || answer.status === 206;
    const { addresses } = this.#parts;
    if (answer.leftOrigin && isServed) addresses.remember(request.repository, digest, call.asker ?? 'node', answer.url);
    return answer;
  }

  /** A redirect to an address whose signature has run out is asked for once more. */
  async #askRegistryForBlob(request: RegistryRequest, call: OriginCall): Promise<FollowedAnswer> {
    const answer = await this.#parts.requester.send(request, call);
    if (answer.status !== 403 || !answer.redirected || request.method === 'HEAD') return answer;
    await this.#discard(answer);
    return await this.#parts.requester.send(request, call);
  }

  async #askWhereItWas(
    request: RegistryRequest,
    digest: Digest,
    call: OriginCall,
  ): Promise<FollowedAnswer | undefined> {
    const { addresses, requester } = this.#parts;
    const { asker = 'node' } = call;
    const url = addresses.find(request.repository, digest, asker);
    if (url === undefined) return undefined;
    let answer: FollowedAnswer | undefined;
    try {
      answer = await requester.sendElsewhere(request, url, call);
    } catch (error) {
      if (!(error instanceof OriginError) || error.code === 'cancelled') throw error;
      // The registry may know a better place.
    }
    if (answer === undefined) addresses.forget(request.repository, digest, asker, url);
    return answer;
  }

  async #refused(answer: Answer): Promise<OriginError> {
    await this.#discard(answer);
    return statusFailure(answer, this.#parts.clock());
  }

  #readWhole(answer: Answer, repository: Repository, maxBytes: number): Promise<Buffer> {
    const onBytes = (count: number): void => {
      this.#parts.onBytes(repository.registry, count);
      this.#parts.downloadLane?.spend(count);
    };
    return readWhole(answer, { stallMs: this.#stallMs, maxBytes, onBytes });
  }

  #discard(answer: Answer): Promise<void> {
    return discard(answer, this.#stallMs);
  }
}

function blobRequest(
  method: 'GET' | 'HEAD',
  repository: Repository,
  digest: Digest,
  headers: Record<string, string> = {},
): RegistryRequest {
  return { repository, kind: 'blob', method, path: `blobs/${digest}`, headers };
}

/**
 * The digest an answer stands for: the one asked for, else the one the registry names; undefined when neither is there.
 * @throws OriginError `invalid` when the two disagree
 */
function namedDigest(reference: string, header: string | string[] | undefined, host: string): Digest | undefined {
  const asked = parseDigest(reference);
  const told = typeof header === 'string' ? parseDigest(header.trim()) : undefined;
  if (asked === undefined) return told;
  if (told !== undefined && told !== asked && digestAlgorithm(told) === digestAlgorithm(asked)) {
    throw new OriginError('invalid', `${host} answered for ${told} when asked for ${asked}`);
  }
  return asked;
}

function hash(bytes: Uint8Array | string, algorithm: 'sha256' | 'sha512'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}
