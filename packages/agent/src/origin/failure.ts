/**
 * What went wrong, in the closed words of OriginError. Messages name hosts and statuses only: paths may hold signed
 * queries, headers and bodies may hold credentials.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { OriginError } from './origin-client.ts';

const MAX_RETRY_AFTER_MS = 24 * 3600 * 1000;

/** The error for an answer whose status is not what was asked for. */
export function statusFailure(
  answer: { status: number; headers: IncomingHttpHeaders; url: URL; challenge?: readonly string[] },
  nowMs: number,
): OriginError {
  const { status, headers, url, challenge } = answer;
  const retryAfterMs = parseRetryAfter(headers['retry-after'], nowMs);
  return new OriginError(statusCode(status), `${url.host} answered ${status}`, {
    status,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(challenge === undefined ? {} : { challenge }),
  });
}

function statusCode(status: number): OriginError['code'] {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 404) return 'not-found';
  if (status === 416) return 'invalid';
  if (status === 429) return 'rate-limited';
  if (status >= 500) return 'unavailable';
  return status >= 400 ? 'refused' : 'invalid';
}

/** RFC 9110 §10.2.3: seconds or a date. Undefined when absent or senseless; never more than a day. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(0, waitMs), MAX_RETRY_AFTER_MS);
}

/** The error for a connection that failed before the headers came (`inBody` false) or after. */
export function networkFailure(cause: unknown, host: string, inBody: boolean): OriginError {
  if (cause instanceof OriginError) return cause;
  const code = codeOf(cause);
  if (code === 'UND_ERR_ABORTED' || code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') {
    return new OriginError('cancelled', `reading from ${host} was stopped`, { cause });
  }
  if (inBody && (code === 'UND_ERR_SOCKET' || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' || isParserAtEnd(cause))) {
    return new OriginError('cut-short', `${host} ended the body early`, { cause });
  }
  // A parser error holds the bytes it stumbled over, which may be anybody's secret: it is not kept as a cause.
  if (isParserError(cause) || code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'UND_ERR_INVALID_ARG') {
    return new OriginError('invalid', `${host} does not speak HTTP as it should`);
  }
  return new OriginError('unreachable', `connection to ${host} failed${code === '' ? '' : ` (${code})`}`, { cause });
}

function isParserError(cause: unknown): cause is Error & { data?: unknown } {
  return cause instanceof Error && cause.name === 'HTTPParserError';
}

/** The connection ended (FIN) where the parser still expected bytes. */
function isParserAtEnd(cause: unknown): boolean {
  return isParserError(cause) && cause.data === '';
}

/** The system's or a library's code; empty when there is none. */
export function codeOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
}
