/**
 * What a pull would meet first at a registry, without pulling: the way there, and whether it takes the node's credentials. The same
 * endpoint, connections, token servers and deadlines as for pulls, and nothing is remembered of it but a token.
 */
import { DOCKER_HUB } from '@shoal/oci';
import { unlessAborted } from '../unless-aborted.ts';
import type { RegistryAuth } from './auth.ts';
import { discard } from './body.ts';
import { cancelled } from './cancelled.ts';
import type { Credential, Credentials } from './credentials.ts';
import { type Endpoint, type Endpoints, registryUrl, repositoryUrl } from './endpoint.ts';
import { statusFailure } from './failure.ts';
import { type OriginCall, OriginError, type RegistryLogin, type RegistryStanding } from './origin-client.ts';
import type { Follow, FollowedAnswer } from './redirect.ts';

/** Docker Hub tells what is left to whoever asks for this tag's headers; that counts as no pull. https://docs.docker.com/docker-hub/usage/pulls/ */
const HUB_PREVIEW = 'ratelimitpreview/test';

export interface RegistryCheckDependencies {
  endpoints: Endpoints;
  credentials: Pick<Credentials, 'of'>;
  auth: RegistryAuth;
  follow: Follow;
  clock: () => number;
}

/** By the token server, whatever was shown to it. */
const REFUSED: unique symbol = Symbol('refused');

type Call = Pick<OriginCall, 'signal' | 'pullId'>;

export class RegistryCheck {
  readonly #stallMs: number;
  readonly #dependencies: RegistryCheckDependencies;

  constructor(options: { stallMs: number }, dependencies: RegistryCheckDependencies) {
    this.#stallMs = options.stallMs;
    this.#dependencies = dependencies;
  }

  /** @throws OriginError */
  async ask(registry: string, call: Call): Promise<RegistryStanding> {
    const { endpoints, credentials } = this.#dependencies;
    const endpoint = endpoints.find(registry);
    const credential = await unlessAborted(credentials.of({ registry: endpoint.registry, name: '' }), call.signal, {
      reason: cancelled,
    });
    const login = await this.#logIn(endpoint, credential, call);
    if (endpoint.registry === DOCKER_HUB) await this.#readLimit(endpoint, credential, call);
    return { url: endpoint.baseUrl.href, login };
  }

  async #logIn(endpoint: Endpoint, credential: Credential | undefined, call: Call): Promise<RegistryLogin> {
    const first = await this.#get(endpoint, undefined, call);
    if (first.status === 200) return mustNotBePage(first);
    const challenge = challengeOf(first);
    if (challenge === undefined) throw statusFailure(first, this.#dependencies.clock());
    const authorization = await this.#answer(endpoint, credential, challenge, call);
    if (authorization === REFUSED) return credential === undefined ? 'wanted' : 'denied';
    if (authorization === undefined) return 'wanted';
    // A token for no repository need not open anything: that one was given is the answer.
    if (/^bearer /i.test(authorization)) return credential === undefined ? 'anonymous' : 'accepted';
    const second = await this.#get(endpoint, authorization, call);
    if (second.status === 200) return 'accepted';
    if (second.status === 401 || second.status === 403) return 'denied';
    throw statusFailure(second, this.#dependencies.clock());
  }

  async #answer(
    endpoint: Endpoint,
    credential: Credential | undefined,
    challenge: readonly string[],
    call: Call,
  ): Promise<string | typeof REFUSED | undefined> {
    try {
      const nothing = { registry: endpoint.registry, name: '' };
      return await this.#dependencies.auth.answer(endpoint, credential, nothing, challenge, undefined, call);
    } catch (error) {
      if (error instanceof OriginError && error.code === 'unauthorized') return REFUSED;
      throw error;
    }
  }

  async #get(endpoint: Endpoint, authorization: string | undefined, call: Call): Promise<FollowedAnswer> {
    const url = registryUrl(endpoint);
    const request = { kind: 'check', method: 'GET', url, headers: {}, authorization, pullId: call.pullId } as const;
    const answer = await this.#dependencies.follow(endpoint, request, call.signal);
    await discard(answer, this.#stallMs);
    return answer;
  }

  /** Whoever listens to the limits hears of this one; that it cannot be had is no finding. */
  async #readLimit(endpoint: Endpoint, credential: Credential | undefined, call: Call): Promise<void> {
    const { auth, follow } = this.#dependencies;
    const repository = { registry: endpoint.registry, name: HUB_PREVIEW };
    const url = repositoryUrl(endpoint, HUB_PREVIEW, 'manifests/latest');
    const head = { kind: 'check', method: 'HEAD', url, headers: {}, pullId: call.pullId } as const;
    try {
      const first = await follow(endpoint, { ...head, authorization: undefined }, call.signal);
      await discard(first, this.#stallMs);
      const challenge = challengeOf(first);
      if (challenge === undefined) return;
      const authorization = await auth.answer(endpoint, credential, repository, challenge, undefined, call);
      await discard(await follow(endpoint, { ...head, authorization }, call.signal), this.#stallMs);
    } catch (error) {
      if (!(error instanceof OriginError)) throw error;
    }
  }
}

/** What a captive portal or a web server in its place answers to everything. */
function mustNotBePage({ headers, url }: FollowedAnswer): 'open' {
  if (!/^text\/html\b/i.test(headers['content-type'] ?? '')) return 'open';
  throw new OriginError('invalid', `${url.host} answered with a web page`);
}

function challengeOf({ status, leftOrigin, headers }: FollowedAnswer): string[] | undefined {
  const header: string | string[] | undefined = headers['www-authenticate'];
  if (status !== 401 || leftOrigin || header === undefined) return undefined;
  return Array.isArray(header) ? header : [header];
}
