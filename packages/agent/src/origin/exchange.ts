/**
 * One request, one answer, no redirects and no challenges. Three phases, each with its deadline:
 * a free connection (dial + headers), headers (from the request being written), body (see body.ts).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { networkFailure } from './failure.ts';
import { OriginError } from './origin-client.ts';
import type { OriginDeadlines } from './origin-options.ts';

export type Method = 'GET' | 'HEAD' | 'POST';

export interface Answer {
  method: Method;
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from. */
  url: URL;
  /** Must be read to its end or destroyed: it holds a connection. */
  body: Readable;
}

export interface ExchangeRequest {
  method: Method;
  url: URL;
  headers: Record<string, string>;
  body?: string | undefined;
  onSent?: (() => void) | undefined;
}

/** @throws OriginError `timeout`, `unreachable`, `invalid`, `blocked-host`, `cancelled` */
export async function exchange(
  dispatcher: Dispatcher,
  request: ExchangeRequest,
  deadlines: OriginDeadlines,
  signal: AbortSignal,
): Promise<Answer> {
  const { method, url, headers, body: sentBody, onSent } = request;
  const controller = new AbortController();
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  const stop = (error: OriginError): void => {
    // While undici dials it does not look at the signal; the race below does.
    controller.abort(error);
    stopped.reject(error);
  };
  const cancel = (): void => stop(new OriginError('cancelled', `the request to ${url.host} was cancelled`));
  const expireIn = (timeoutMs: number, what: string): NodeJS.Timeout =>
    setTimeout(() => stop(new OriginError('timeout', `${url.host} gave no ${what} in ${timeoutMs} ms`)), timeoutMs);

  let timer = expireIn(deadlines.dialMs + deadlines.headersMs, 'connection');
  const written = (): void => {
    clearTimeout(timer);
    onSent?.();
    if (!controller.signal.aborted) timer = expireIn(deadlines.headersMs, 'answer');
  };
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    const sent = dispatcher
      .compose((dispatch) => (options, handler) => dispatch(options, announceWritten(handler, written)))
      .request({
        origin: url.origin,
        path: url.pathname + url.search,
        method,
        headers,
        body: sentBody ?? null,
        signal: controller.signal,
      });
    const { statusCode, headers: answered, body } = await Promise.race([sent, stopped.promise]);
    body.on('error', () => {});
    body.once('close', () => signal.removeEventListener('abort', cancel));
    return { method, status: statusCode, headers: answered, url, body };
  } catch (cause) {
    signal.removeEventListener('abort', cancel);
    throw networkFailure(cause, url.host, false);
  } finally {
    clearTimeout(timer);
  }
}

/** Passes everything on, and tells when the request goes out on a connection: before that it may wait for one. */
function announceWritten(handler: Dispatcher.DispatchHandler, written: () => void): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (controller, context) => {
      written();
      handler.onRequestStart?.(controller, context);
    },
    onResponseStart: (controller, status, headers, message) =>
      handler.onResponseStart?.(controller, status, headers, message),
    onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
    onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
    onResponseError: (controller, error) => handler.onResponseError?.(controller, error),
  };
}
