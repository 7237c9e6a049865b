/**
 * One request to a registry, with everything that is not about its meaning:
 *
 *   1. the registry's endpoint, or `blocked-host`
 *   2. the Authorization that this repository is known to want
 *   3. the request, and its redirects
 *   4. after a 401 from the registry itself: a fresh Authorization, and the request once more
 *
 * Any status may come back; the caller knows which of them it can use.
 */
import type { RegistryAuth } from './auth.ts';
import { discard } from './body.ts';
import { type Endpoints, repositoryUrl } from './endpoint.ts';
import { type OriginCall, OriginError, type Repository } from './origin-client.ts';
import type { RequestKind } from './origin-options.ts';
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
  auth: RegistryAuth;
  follow: Follow;
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
    const { endpoints, auth, follow } = this.#dependencies;
    const { repository, kind, method, headers = {} } = request;
    const endpoint = endpoints.find(repository.registry);
    const url = repositoryUrl(endpoint, repository.name, request.path);
    const ask = async (authorization: string | undefined): Promise<FollowedAnswer> =>
      refuseEncoded(
        await follow(endpoint, { kind, method, url, headers, authorization, pullId: call.pullId }, call.signal),
      );

    const authorization = await auth.known(endpoint, repository, call);
    const answer = await ask(authorization);
    if (answer.status !== 401 || answer.leftOrigin) return answer;
    const fresh = await auth.answer(endpoint, repository, answer, authorization, call).catch((error: unknown) => {
      answer.body.destroy();
      throw error;
    });
    if (fresh === undefined) return answer;
    await discard(answer, this.#stallMs);
    return ask(fresh);
  }
}

/** Digests and ranges are about the bytes themselves; an encoded body was asked not to be sent. */
function refuseEncoded(answer: FollowedAnswer): FollowedAnswer {
  const encoding = answer.headers['content-encoding'] ?? 'identity';
  if (answer.status >= 300 || encoding.toLowerCase() === 'identity') return answer;
  answer.body.destroy();
  throw new OriginError('invalid', `${answer.url.host} sent an encoded body`, { status: answer.status });
}
