import { TRACKER_INSTANCE_HEADER, trackerErrorSchema } from '@shoal/wire';
import { type Agent, type Dispatcher, errors } from 'undici';
import type { ZodType } from 'zod';
import { CallError } from './call-error.ts';

export interface Answer<T> {
  body: T;
  /** Changes when the tracker restarted, or when another replica answers. */
  instance: string;
}

export interface Call<T> {
  url: string;
  path: string;
  session?: string | undefined;
  body: unknown;
  answer: ZodType<T>;
  deadlineMs: number;
  signal: AbortSignal;
}

/** One call of the API. @throws CallError, whatever goes wrong */
export async function callTracker<T>(dispatcher: Agent, call: Call<T>): Promise<Answer<T>> {
  const deadline = AbortSignal.timeout(call.deadlineMs);
  const signal = AbortSignal.any([deadline, call.signal]);
  try {
    // undici heeds the signal only once it is connected; the race ends the wait for a connection, too.
    return await Promise.race([request(dispatcher, call, signal), rejectionOf(signal)]);
  } catch (error) {
    throw asCallError(error, call, deadline.aborted);
  }
}

async function request<T>(dispatcher: Agent, call: Call<T>, signal: AbortSignal): Promise<Answer<T>> {
  const response = await dispatcher.request({
    origin: new URL(call.url).origin,
    path: call.path,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(call.session === undefined ? {} : { authorization: `Bearer ${call.session}` }),
    },
    body: JSON.stringify(call.body),
    signal,
  });
  return read(call, response);
}

function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

async function read<T>(call: Call<T>, response: Dispatcher.ResponseData): Promise<Answer<T>> {
  const body: unknown = await response.body.json();
  if (response.statusCode === 200) {
    const parsed = call.answer.safeParse(body);
    if (!parsed.success) throw new CallError('BAD_ANSWER', `the answer of ${call.path} does not fit the API`);
    const instance = response.headers[TRACKER_INSTANCE_HEADER];
    return { body: parsed.data, instance: typeof instance === 'string' ? instance : '' };
  }
  const refusal = trackerErrorSchema.safeParse(body);
  if (!refusal.success) throw new CallError('BAD_ANSWER', `status ${response.statusCode} without an error`);
  const dateMs = Date.parse(String(response.headers.date));
  const { code, message } = refusal.data.error;
  throw new CallError(code, message, Number.isNaN(dateMs) ? {} : { dateMs });
}

function asCallError(error: unknown, call: Call<unknown>, late: boolean): CallError {
  if (error instanceof CallError) return error;
  if (late)
    return new CallError('TIMEOUT', `${call.url} did not answer within ${call.deadlineMs} ms`, { cause: error });
  if (error instanceof SyntaxError) return new CallError('BAD_ANSWER', 'the answer is not JSON', { cause: error });
  const overload = error instanceof errors.ResponseExceededMaxSizeError || error instanceof errors.HTTPParserError;
  if (overload) return new CallError('BAD_ANSWER', 'the answer is not one of the tracker', { cause: error });
  return new CallError('UNREACHABLE', `${call.url} cannot be reached`, { cause: error });
}
