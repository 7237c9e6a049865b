/** The span of a client's request: what it asks for, by the names that the path has, never a header or the query. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RequestTracer, Span } from '../tracing/span.ts';
import type { Route } from './route.ts';

/** Undefined where nothing is traced, and for what asks for no object of a repository. */
export function beginSpan(tracer: RequestTracer | undefined, route: Route, request: FastifyRequest): Span | undefined {
  if (tracer === undefined || !('repository' in route)) return undefined;
  const { registry, name } = route.repository;
  const reference = route.kind === 'manifest' ? route.reference : undefined;
  const named = route.kind === 'manifest' || route.kind === 'tags' ? undefined : route.digest;
  return tracer.request(request.headers, `${request.method} ${route.kind}`, {
    'http.request.method': request.method,
    'shoal.kind': route.kind,
    'shoal.registry': registry,
    'shoal.repository': name,
    'shoal.tag': reference !== undefined && 'tag' in reference ? reference.tag : undefined,
    'shoal.digest': reference !== undefined && 'digest' in reference ? reference.digest : named,
    'shoal.range': request.headers.range !== undefined,
    // As in the log, and as X-Request-Id.
    'shoal.pull_id': request.id,
  });
}

export function endSpan(span: Span, reply: FastifyReply, result: string): void {
  const { raw } = reply;
  const length = raw.headersSent ? Number(raw.getHeader('content-length')) : Number.NaN;
  span.set({
    'http.response.status_code': raw.headersSent ? raw.statusCode : undefined,
    'http.response.body.size': Number.isNaN(length) ? undefined : length,
    'shoal.result': result,
  });
  span.end(result === 'cut-short' ? result : undefined);
}
