/**
 * Traces: what one client's request had to wait for, told to a collector when one is configured (`otlp-endpoint`).
 *
 *   request ─┬─ access check, reference resolution ─── registry and tracker calls made for it
 *            └─ pull ─┬─ registry requests, each with its lease
 *                     ├─ leases asked of the tracker
 *                     └─ peers, as attributes: pieces and bytes of each, never a span per piece
 *
 * The rooms know this interface alone and are given a span with the request or not at all: without a collector, and for a
 * request that is not sampled, there is none, and nothing is done or loaded. `open-telemetry.ts` is behind it.
 *
 * A span names what was asked for: registry, repository, digest, tag, PeerIds. It never holds a header, an address with its
 * query, or the text of an error, where a registry may have put anything.
 */

export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** `server`: asked by a client. `client`: asks a registry or the tracker. */
export type SpanKind = 'server' | 'client' | 'internal';

export interface Span {
  child(name: string, kind: SpanKind, attributes?: SpanAttributes): Span;
  /** Those that are undefined are left out. */
  set(attributes: SpanAttributes): void;
  event(name: string, attributes?: SpanAttributes): void;
  /** The other one did for this one, too, what it is about. */
  link(other: Span): void;
  /** Once; later calls say nothing. @param error the code of what went wrong */
  end(error?: string): void;
}

/** What begins a trace. */
export interface RequestTracer {
  /**
   * A client's request, as a part of the trace that its `traceparent` names, if it has one. Undefined: not sampled.
   */
  request(
    headers: Readonly<Record<string, string | string[] | undefined>>,
    name: string,
    attributes: SpanAttributes,
  ): Span | undefined;
}

/** Does something within a span below `parent`. `work` gets no span where there is no parent. */
export async function within<T>(
  parent: Span | undefined,
  { name, kind, attributes = {} }: { name: string; kind: SpanKind; attributes?: SpanAttributes },
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (parent === undefined) return await work(undefined);
  const span = parent.child(name, kind, attributes);
  try {
    const result = await work(span);
    span.end();
    return result;
  } catch (error) {
    span.end(codeOf(error));
    throw error;
  }
}

/** The code of one of our errors; of any other its name, as its text may hold anything. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
