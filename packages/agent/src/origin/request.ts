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
import { askerKey, ClientAuthorization } from './asker.ts';
import type { RegistryAuth } from './auth.ts';
import { discard } from './body.ts';
import type { Credentials } from './credentials.ts';
import { type Endpoints, repositoryUrl } from './endpoint.ts';
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
    const { endpoints, credentials, auth, follow, limits } = this.#dependencies;
    const { repository, kind, method, headers = {} } = request;
    const endpoint = endpoints.find(repository.registry);
    const url = repositoryUrl(endpoint, repository.name, request.path);
    const { asker = 'node' } = call;
    const ask = async (authorization: string | undefined): Promise<FollowedAnswer> => {
      const sent = { kind, method, url, headers, authorization, pullId: call.pullId };
      const answer = await follow(endpoint, sent, call.signal);
      if (!answer.leftOrigin) limits.answered(repository.registry, askerKey(asker), answer.status, answer.headers);
      return refuseEncoded(answer);
    };

    // Pieces of blobs have their own pauses, told to the tracker.
    if (kind !== 'blob') limits.mustMayAsk(repository.registry, askerKey(asker));
    if (asker instanceof ClientAuthorization) {
      const answer = await ask(asker.header);
      return tell(answer, challengeOf(answer));
    }
    const credential = asker === 'node' ? await credentials.of(repository) : undefined;
    const authorization = await auth.known(endpoint, credential, repository, call);
    const answer = await ask(authorization);
    const challenge = challengeOf(answer);
    if (challenge === undefined) return answer;
    // That the node's own credentials are refused is nothing that a client could mend.
    const told = credential === undefined ? challenge : undefined;
    const fresh = await auth
      .answer(endpoint, credential, repository, challenge, authorization, call)
      .catch((error: unknown) => {
        answer.body.destroy();
        if (credential !== undefined && isUnauthorized(error)) credentials.refused(credential);
        throw told !== undefined && isUnauthorized(error) ? error.withChallenge(told) : error;
      });
    if (fresh === undefined) {
      if (credential !== undefined) credentials.refused(credential);
      return tell(answer, told);
    }
    await discard(answer, this.#stallMs);
    const second = await ask(fresh);
    if (second.status === 401 && credential !== undefined) credentials.refused(credential);
    return tell(second, told);
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
  const encoding = answer.headers['content-encoding'] ?? 'identity';
  if (answer.status >= 300 || encoding.toLowerCase() === 'identity') return answer;
  answer.body.destroy();
  throw new OriginError('invalid', `${answer.url.host} sent an encoded body`, { status: answer.status });
}
