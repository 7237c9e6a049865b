/**
 * A request and the redirects it leads to. Every hop is checked before it is dialled; what is meant for the registry
 * alone (Authorization, X-Request-Id, Via) is dropped for good once a hop leaves its origin.
 */
import type { Logger } from 'pino';
import { contentLength, discard } from './body.ts';
import { checkTarget, type Endpoint } from './endpoint.ts';
import { type Answer, exchange, type Method } from './exchange.ts';
import { OriginError } from './origin-client.ts';
import { MAX_REDIRECTS, type OriginDeadlines, type OriginDependencies, type RequestKind } from './origin-options.ts';
import { readRateLimit } from './rate-limits.ts';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface FollowedRequest {
  kind: RequestKind;
  method: Method;
  url: URL;
  headers: Record<string, string>;
  body?: string;
  authorization: string | undefined;
  pullId: string;
  /** The address is one that the registry redirected to before. @default false */
  isElsewhere?: boolean;
  /** Of a blob: a few bytes of it, which need not wait behind whole ones. @default false */
  isSmall?: boolean;
  onSent?: (() => void) | undefined;
}

export interface FollowedAnswer extends Answer {
  /** The answer comes from another scheme, host or port than was asked first. */
  leftOrigin: boolean;
  redirected: boolean;
  /** Of a refusal: what the registry says about logging in, when a client of this agent may be told. */
  challenge?: readonly string[];
}

/** Sends requests on behalf of one registry. */
export type Follow = (endpoint: Endpoint, request: FollowedRequest, signal: AbortSignal) => Promise<FollowedAnswer>;

export interface FollowDependencies extends Pick<OriginDependencies, 'onRequest' | 'onRateLimit'> {
  logger: Logger;
}

export function createFollow(
  options: { deadlines: OriginDeadlines; version: string },
  dependencies: FollowDependencies,
): Follow {
  const { deadlines, version } = options;
  const { logger, onRequest, onRateLimit } = dependencies;

  return async (endpoint, request, signal) => {
    const { kind, method, body, pullId, authorization } = request;
    const { registry } = endpoint;
    const isBulk = kind === 'blob' && method === 'GET' && request.isSmall !== true;
    const dispatcher = isBulk ? endpoint.bulk : endpoint.small;
    const everywhere = { ...request.headers, 'accept-encoding': 'identity', 'user-agent': `shoal/${version}` };
    const atHome = {
      via: '1.1 shoal',
      'x-request-id': headerSafe(pullId),
      ...(authorization === undefined ? {} : { authorization }),
    };
    let { url } = request;
    let leftOrigin = request.isElsewhere === true;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      checkTarget(endpoint, url);
      leftOrigin ||= url.origin !== request.url.origin;
      const headers = leftOrigin ? everywhere : { ...everywhere, ...atHome };
      let answer: Answer;
      try {
        answer = await exchange(dispatcher, { method, url, headers, body, onSent: request.onSent }, deadlines, signal);
      } catch (error) {
        onRequest?.(registry, kind, 0);
        logger.debug({ registry, pullId, kind, method, host: url.host, err: error }, 'origin request failed');
        throw error;
      }
      const { status } = answer;
      onRequest?.(registry, kind, status);
      const limit = leftOrigin ? undefined : readRateLimit(answer.headers);
      if (limit !== undefined) onRateLimit?.(registry, limit);
      logger.debug(
        { registry, pullId, kind, method, host: url.host, status, sizeBytes: contentLength(answer) },
        'origin answered',
      );
      // A secret that is posted goes where it was meant to go, or nowhere.
      const location = REDIRECTS.has(status) && method !== 'POST' ? answer.headers.location : undefined;
      if (location === undefined) return { ...answer, leftOrigin, redirected: hops > 0 };
      await discard(answer, deadlines.stallMs);
      const next = URL.parse(location, url);
      if (next === null) throw new OriginError('invalid', `${url.host} redirects to no address`, { status });
      // The password part of an address is never needed here, and must not reach a log.
      next.username = '';
      next.password = '';
      url = next;
    }
    throw new OriginError('invalid', `${request.url.host} redirects more than ${MAX_REDIRECTS} times`);
  };
}

function headerSafe(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, 128);
}
