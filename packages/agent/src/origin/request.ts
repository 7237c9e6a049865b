/**
 * One request to a registry, with everything that is not about its meaning:
 *
 *   1. the registry's endpoint, or `blocked-host`
 *   2. the Authorization that this repository is known to want; for a client, the client's own
 *   3. the request, and its redirects
 *   4. after a 401 from the registry itself: a fresh Authorization, and the request once more; not for a client, which alone
 *      can log in
 *
 * Any status may come back; the caller knows which of them it can use.
 */

import { unlessAborted } from '../unless-aborted.ts';
import { askerKey, ClientAuthorization } from './asker.ts';
import type { RegistryAuth } from './auth.ts';
import { discard } from './body.ts';
import { cancelled } from './cancelled.ts';
import type { Credential, Credentials } from './credentials.ts';
import { type Endpoint, type Endpoints, repositoryUrl } from './endpoint.ts';
import { type OriginCall, OriginError, type Repository } from './origin-client.ts';
import type { RequestKind } from './origin-options.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Follow, FollowedAnswer } from './redirect.ts';

export interface RegistryRequest {
  repository: Repository;
  kind: RequestKind;
  method: 'GET' | 'HEAD';
  /** Below the repository's name, e.g. `manifests/latest`; may have a query. */
  path: string;
  headers?: Record<string, string>;
  /** Of a blob: a few bytes of it. */
  isSmall?: boolean;
}

export interface RegistryRequesterDependencies {
  endpoints: Endpoints;
  credentials: Pick<Credentials, 'of' | 'refused'>;
  auth: RegistryAuth;
  follow: Follow;
  limits: RateLimits;
}

export class RegistryRequester {
  readonly #stallMs: number;
  readonly #dependencies: RegistryRequesterDependencies;

  constructor(options: { stallMs: number }, dependencies: RegistryRequesterDependencies) {
    this.#stallMs = options.stallMs;
    this.#dependencies = dependencies;
  }

  /** @throws OriginError; never for a status */
  async send(request: RegistryRequest, call: OriginCall): Promise<FollowedAnswer> {
    const { endpoints, credentials, limits } = this.#dependencies;
    const { repository, kind } = request;
    const { asker = 'node' } = call;
    const endpoint = endpoints.find(repository.registry);
    // Blobs are limited apart from what counts as a pull, and have pauses of their own, told to the tracker.
    if (kind !== 'blob') limits.mustMayAsk(repository.registry, askerKey(asker));
    if (asker instanceof ClientAuthorization) {
      const answer = await this.#ask(endpoint, request, asker.header, call);
      return tell(answer, challengeOf(answer));
    }
    const credential =
      asker === 'node'
        ? await unlessAborted(credentials.of(repository), call.signal, { reason: cancelled })
        : undefined;
    if (credential === undefined) return await this.#logIn(endpoint, request, undefined, call);
    try {
      const answer = await this.#logIn(endpoint, request, credential, call);
      if (answer.status !== 401 || answer.leftOrigin) return answer;
      await discard(answer, this.#stallMs);
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
    }
    // That the node's own credentials are refused is nothing that a client could mend, and what is public is so without them.
    credentials.refused(credential);
    const { challenge: _, ...answer } = await this.#logIn(endpoint, request, undefined, call);
    return answer;
  }

  /** Answers the registry's challenge with what there is. */
  async #logIn(
    endpoint: Endpoint,
    request: RegistryRequest,
    credential: Credential | undefined,
    call: OriginCall,
  ): Promise<FollowedAnswer> {
    const { auth } = this.#dependencies;
    const { repository } = request;
    // A token server that refuses is told about below, with the challenge that led to it.
    const authorization = await auth.known(endpoint, credential, repository, call).catch((error: unknown) => {
      if (isUnauthorized(error)) return undefined;
      throw error;
    });
    const answer = await this.#ask(endpoint, request, authorization, call);
    const challenge = challengeOf(answer);
    if (challenge === undefined) return answer;
    const fresh = await auth
      .answer(endpoint, credential, repository, challenge, authorization, call)
      .catch((error: unknown) => {
        answer.body.destroy();
        throw credential === undefined && isUnauthorized(error) ? error.withChallenge(challenge) : error;
      });
    if (fresh === undefined) return tell(answer, challenge);
    await discard(answer, this.#stallMs);
    return tell(await this.#ask(endpoint, request, fresh, call), challenge);
  }

  /**
   * The same from an address that the registry redirected to before; undefined when the storage does not serve it (any more).
   * @throws OriginError
   */
  async sendElsewhere(
    { repository, kind, method, headers = {} }: RegistryRequest,
    url: URL,
    { pullId, signal, onSent }: OriginCall,
  ): Promise<FollowedAnswer | undefined> {
    const { endpoints, follow } = this.#dependencies;
    const endpoint = endpoints.find(repository.registry);
    const sent = { kind, method, url, headers, authorization: undefined, pullId, isElsewhere: true, onSent };
    const answer = refuseEncoded(await follow(endpoint, sent, signal));
    if ([200, 206, 416].includes(answer.status)) return answer;
    await discard(answer, this.#stallMs);
    return undefined;
  }

  async #ask(
    endpoint: Endpoint,
    { repository, kind, method, path, headers = {}, isSmall = false }: RegistryRequest,
    authorization: string | undefined,
    { asker = 'node', pullId, signal, onSent }: OriginCall,
  ): Promise<FollowedAnswer> {
    const { follow, limits } = this.#dependencies;
    const url = repositoryUrl(endpoint, repository.name, path);
    const answer = await follow(
      endpoint,
      { kind, method, url, headers, authorization, pullId, isSmall, onSent },
      signal,
    );
    if (kind !== 'blob' && !answer.leftOrigin) {
      limits.answered(repository.registry, askerKey(asker), answer.status, answer.headers);
    }
    return refuseEncoded(answer);
  }
}

/** The token server, asked with what there is, said no. */
function isUnauthorized(error: unknown): error is OriginError {
  return error instanceof OriginError && error.code === 'unauthorized';
}

/** A storage server that the registry redirected to has nothing to say about logging in. */
function challengeOf({ status, leftOrigin, headers }: FollowedAnswer): string[] | undefined {
  // A header that may come several times; undici gives one of them as a string.
  const header: string | string[] | undefined = headers['www-authenticate'];
  if (status !== 401 || leftOrigin || header === undefined) return undefined;
  return Array.isArray(header) ? header : [header];
}

function tell(answer: FollowedAnswer, challenge: string[] | undefined): FollowedAnswer {
  const isRefused = answer.status === 401 || answer.status === 403;
  return isRefused && challenge !== undefined && !answer.leftOrigin ? { ...answer, challenge } : answer;
}

/** Digests and ranges are about the bytes themselves; an encoded body was asked not to be sent. */
function refuseEncoded(answer: FollowedAnswer): FollowedAnswer {
  const encoding = (answer.headers['content-encoding'] ?? '').toLowerCase();
  // Some S3 stores repeat what the blob was uploaded with.
  if (answer.status >= 300 || ['', 'identity', 'aws-chunked'].includes(encoding)) return answer;
  answer.body.destroy();
  throw new OriginError('invalid', `${answer.url.host} sent an encoded body`, { status: answer.status });
}
