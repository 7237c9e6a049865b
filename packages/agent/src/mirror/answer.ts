/** What the mirror decided to say, before the first byte of it is sent. */
import { type OciErrorCode, ociErrorBody, parseChallenges } from '@shoal/oci';
import { OriginError } from '../origin/origin-client.ts';

/** `refused`: the request itself is at fault. `not-found`: the client may go upstream. */
export type AnswerResult = 'ok' | 'not-found' | 'refused';

export interface Answer {
  status: number;
  headers: Record<string, string | string[]>;
  body: string | Buffer | BodyStream;
  result: AnswerResult;
}

export type SmallAnswer = Answer & { body: string | Buffer };

/** A body too large for memory. */
export interface BodyStream {
  /** Undefined: nobody said, so it goes out in HTTP chunks. */
  lengthBytes: number | undefined;
  /** Each is overwritten when the next one is asked for. Throws when no source is left. */
  chunks: AsyncIterable<Uint8Array>;
  /** Must be called once, whatever happened. */
  close(): void;
}

export function isStream(body: Answer['body']): body is BodyStream {
  return typeof body === 'object' && 'chunks' in body;
}

export function refusal(status: number, code: OciErrorCode, message: string): SmallAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: ociErrorBody(code, message),
    result: status === 404 ? 'not-found' : 'refused',
  };
}

export function unsatisfiableRange(sizeBytes: number): SmallAnswer {
  const answer = refusal(416, 'SIZE_INVALID', 'the range is outside the object');
  answer.headers['content-range'] = `bytes */${sizeBytes}`;
  return answer;
}

/**
 * Nobody here can serve it: 404, whatever went wrong. A 404 sends every client to the next host at once, while
 * 401, 429 and 5xx make some retry, wait, or give up the pull.
 */
export function notServed(code: OciErrorCode, error: unknown): SmallAnswer {
  const origin = originErrorIn(error);
  const answer = refusal(404, code, origin === undefined ? 'no source has it' : `origin: ${origin.code}`);
  if (origin?.retryAfterMs !== undefined) answer.headers['retry-after'] = String(Math.ceil(origin.retryAfterMs / 1000));
  return answer;
}

/**
 * The registry wants the client to log in: its own challenge, passed on as it is, so that the client can do so there and come
 * back. Undefined when there is nothing that may be passed on: a password in clear text stays on this machine.
 */
export function relayedChallenge(error: unknown, isLocalClient: boolean): SmallAnswer | undefined {
  if (!(error instanceof OriginError) || error.code !== 'unauthorized' || error.challenge === undefined)
    return undefined;
  const values = error.challenge.filter((value) => isLocalClient || isBearerOnly(value));
  if (values.length === 0) return undefined;
  const answer = refusal(401, 'UNAUTHORIZED', 'the registry wants a login');
  return { ...answer, headers: { ...answer.headers, 'www-authenticate': values } };
}

function isBearerOnly(value: string): boolean {
  return parseChallenges(value).every(({ scheme }) => scheme === 'bearer');
}

/** The origin's own error, also where a pull failed because of it. */
export function originErrorIn(error: unknown): OriginError | undefined {
  if (error instanceof OriginError) return error;
  return error instanceof Error && error.cause instanceof OriginError ? error.cause : undefined;
}
