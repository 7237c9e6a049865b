/**
 * Answers registries' challenges (distribution specification, "Token Authentication"; RFC 7617 for Basic).
 *
 * What a registry asked for is remembered per repository, so that the next request carries its Authorization at once.
 * Tokens are kept per (registry, realm, service, scope, credential). One fetch at a time for one token; a token past three quarters of its life is renewed in the background while it still serves.
 */
import { type Challenge, parseChallenges } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import { unlessAborted } from '../unless-aborted.ts';
import { readWhole } from './body.ts';
import { cancelled } from './cancelled.ts';
import { type Credential, credentialKey } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import { statusFailure } from './failure.ts';
import { type OriginCall, OriginError, type Repository } from './origin-client.ts';
import { DEFAULT_TOKEN_LIFETIME_MS, MAX_TOKEN_ANSWER_BYTES, MAX_TOKENS } from './origin-options.ts';
import type { Follow, FollowedRequest } from './redirect.ts';

const RENEW_AFTER_LIFE_SHARE = 0.75;
const MAX_TOKEN_LIFETIME_MS = 24 * 3600 * 1000;
const MAX_CHALLENGE_PART = 2048;

interface Bearer {
  scheme: 'bearer';
  realm: URL;
  service: string | undefined;
  scope: string;
}
type Demand = { scheme: 'basic' } | Bearer;

interface Token {
  value: string;
  renewAtMs: number;
  expiresAtMs: number;
}

export interface RegistryAuthOptions {
  stallMs: number;
  /** Ends token fetches, which serve several calls and so obey none of their signals. */
  signal: AbortSignal;
}

export interface RegistryAuthDependencies {
  follow: Follow;
  clock: () => number;
  onBytes: (registry: string, sizeBytes: number) => void;
}

export class RegistryAuth {
  readonly #options: RegistryAuthOptions;
  readonly #dependencies: RegistryAuthDependencies;
  readonly #demands = new LRUCache<string, Demand>({ max: MAX_TOKENS });
  readonly #tokens = new LRUCache<string, Token>({ max: MAX_TOKENS });
  readonly #fetches = new Map<string, Promise<string>>();

  constructor(options: RegistryAuthOptions, dependencies: RegistryAuthDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /** What to send with a first request; undefined when this repository never asked for anything. @throws OriginError */
  async known(
    endpoint: Endpoint,
    credential: Credential | undefined,
    repository: Repository,
    call: OriginCall,
  ): Promise<string | undefined> {
    const demand = this.#demands.get(demandKey(repository, credential));
    return demand === undefined ? undefined : this.#satisfy(endpoint, credential, demand, call);
  }

  /**
   * What to send after a 401 to a request that carried `rejected`; undefined when nothing else can be tried.
   * @throws OriginError when the token server refuses or cannot be reached
   */
  async answer(
    endpoint: Endpoint,
    credential: Credential | undefined,
    repository: Repository,
    challenge: readonly string[],
    rejected: string | undefined,
    call: OriginCall,
  ): Promise<string | undefined> {
    const demand = this.#choose(credential, repository, parseChallenges(challenge));
    if (demand === undefined) return undefined;
    this.#demands.set(demandKey(repository, credential), demand);
    if (demand.scheme === 'bearer') {
      const key = tokenKey(endpoint, credential, demand);
      const held = this.#tokens.get(key);
      if (held !== undefined && bearer(held.value) === rejected) this.#tokens.delete(key);
    }
    const authorization = await this.#satisfy(endpoint, credential, demand, call);
    return authorization === rejected ? undefined : authorization;
  }

  /** Bearer before Basic: a token gives less away than a password. */
  #choose(
    credential: Credential | undefined,
    repository: Repository,
    challenges: readonly Challenge[],
  ): Demand | undefined {
    for (const { scheme, parameters } of challenges) {
      const realm = URL.parse(parameters.get('realm') ?? '');
      if (scheme !== 'bearer' || realm === null || realm.username !== '' || realm.password !== '') continue;
      const service = parameters.get('service');
      // Of the registry itself, and no repository, a token without any rights is asked.
      const scope = parameters.get('scope') ?? (repository.name === '' ? '' : `repository:${repository.name}:pull`);
      if (Math.max(realm.href.length, service?.length ?? 0, scope.length) > MAX_CHALLENGE_PART) continue;
      return { scheme: 'bearer', realm, service, scope };
    }
    const isBasic =
      challenges.some(({ scheme }) => scheme === 'basic') && credential !== undefined && 'username' in credential;
    return isBasic ? { scheme: 'basic' } : undefined;
  }

  async #satisfy(
    endpoint: Endpoint,
    credential: Credential | undefined,
    demand: Demand,
    call: OriginCall,
  ): Promise<string | undefined> {
    if (demand.scheme === 'basic') return basic(credential);
    const key = tokenKey(endpoint, credential, demand);
    const nowMs = this.#dependencies.clock();
    const held = this.#tokens.get(key);
    if (held !== undefined && nowMs < held.renewAtMs) return bearer(held.value);
    const renewal = this.#fetch(endpoint, credential, demand, key, call.pullId);
    if (held !== undefined && nowMs < held.expiresAtMs) {
      // The held token still serves; should the renewal fail, the request after its end says why.
      renewal.catch(() => {});
      return bearer(held.value);
    }
    return bearer(await unlessAborted(renewal, call.signal, { reason: cancelled }));
  }

  #fetch(
    endpoint: Endpoint,
    credential: Credential | undefined,
    demand: Bearer,
    key: string,
    pullId: string,
  ): Promise<string> {
    const running = this.#fetches.get(key);
    if (running !== undefined) return running;
    const fetch = this.#fetchToken(endpoint, credential, demand, pullId)
      .then((token) => {
        this.#tokens.set(key, token);
        return token.value;
      })
      .finally(() => this.#fetches.delete(key));
    this.#fetches.set(key, fetch);
    return fetch;
  }

  async #fetchToken(
    endpoint: Endpoint,
    credential: Credential | undefined,
    demand: Bearer,
    pullId: string,
  ): Promise<Token> {
    const { follow, clock, onBytes } = this.#dependencies;
    const { registry } = endpoint;
    const { realm, service, scope } = demand;
    if (credential !== undefined && realm.protocol === 'http:' && endpoint.baseUrl.protocol === 'https:') {
      throw new OriginError('unauthorized', `${registry} wants the password sent to ${realm.host} without TLS`);
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const part of scope.split(' ').filter((text) => text !== '')) url.searchParams.append('scope', part);
    const askedAtMs = clock();
    const answer = await follow(
      endpoint,
      {
        kind: 'token',
        ...(credential !== undefined && 'identityToken' in credential
          ? oauthRequest(realm, demand, credential.identityToken)
          : { method: 'GET', url, headers: { accept: 'application/json' } }),
        authorization: basic(credential),
        pullId,
      },
      this.#options.signal,
    );
    if (answer.status !== 200) {
      answer.body.destroy();
      throw statusFailure(answer, clock());
    }
    const bytes = await readWhole(answer, {
      stallMs: this.#options.stallMs,
      maxBytes: MAX_TOKEN_ANSWER_BYTES,
      onBytes: (sizeBytes) => onBytes(registry, sizeBytes),
    });
    return readToken(bytes, askedAtMs, realm.host);
  }
}

function readToken(bytes: Buffer, askedAtMs: number, host: string): Token {
  let answer: unknown;
  try {
    answer = JSON.parse(bytes.toString());
  } catch {
    // The parser's message quotes the text, which may hold the token: it is not kept as a cause.
    throw new OriginError('invalid', `${host} gave a token that is not JSON`);
  }
  const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>;
  const value = [fields.token, fields.access_token].find((text) => typeof text === 'string' && text !== '');
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new OriginError('invalid', `${host} gave no usable token`);
  }
  const seconds = fields.expires_in;
  const lifetimeMs =
    typeof seconds === 'number' && seconds > 0
      ? Math.min(seconds * 1000, MAX_TOKEN_LIFETIME_MS)
      : DEFAULT_TOKEN_LIFETIME_MS;
  return {
    value,
    renewAtMs: askedAtMs + lifetimeMs * RENEW_AFTER_LIFE_SHARE,
    expiresAtMs: askedAtMs + lifetimeMs,
  };
}

function demandKey({ registry, name }: Repository, credential: Credential | undefined): string {
  return `${registry}/${name} ${credentialKey(credential)}`;
}

function tokenKey({ registry }: Endpoint, credential: Credential | undefined, demand: Bearer): string {
  return JSON.stringify([registry, credentialKey(credential), demand.realm.href, demand.service, demand.scope]);
}

/** https://distribution.github.io/distribution/spec/auth/oauth/ */
function oauthRequest(
  url: URL,
  { service, scope }: Bearer,
  identityToken: string,
): Pick<FollowedRequest, 'method' | 'url' | 'headers' | 'body'> {
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'shoal', scope });
  if (service !== undefined) form.set('service', service);
  form.set('refresh_token', identityToken);
  const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url, headers, body: form.toString() };
}

function bearer(token: string): string {
  return `Bearer ${token}`;
}

function basic(credential: Credential | undefined): string | undefined {
  if (credential === undefined || !('username' in credential)) return undefined;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}
