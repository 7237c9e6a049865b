/** One request on its way through the mirror. */
import type { Digest } from '@shoal/oci';
import type { Logger } from 'pino';
import type { Access, ReadRequest, ReadVerdict } from '../access/access.ts';
import type { References } from '../access/reference-resolver.ts';
import type { ClientAuthorization } from '../origin/asker.ts';
import { type OriginCall, type OriginClient, OriginError } from '../origin/origin-client.ts';
import type { BlobReader, PullSource, Pulls } from '../pull/pulls.ts';
import { type Span, within } from '../tracing/span.ts';

export interface Sources {
  pulls: Pulls;
  origin: Pick<OriginClient, 'allowed' | 'relay'>;
  access: Access;
  references: References;
}

export interface Exchange {
  pullId: string;
  isHead: boolean;
  range: string | undefined;
  ifRange: string | undefined;
  accept: string | undefined;
  /** What the client sent in Authorization. */
  client: ClientAuthorization | undefined;
  logger: Logger;
  /** Of this request, where it is traced. */
  span: Span | undefined;
  /** Aborts when the client has gone or the mirror closes. */
  signal: AbortSignal;
  /** Aborts when an answer is due, and with `signal`. */
  due: AbortSignal;
}

/** Lookups may take until the answer is due. @param span what they are done for */
export function originCall(exchange: Exchange, span: Span | undefined = exchange.span): OriginCall {
  return { signal: exchange.due, pullId: exchange.pullId, span };
}

/**
 * Says what is known of content that this client may read, and in whose name.
 * @throws OriginError: it may not, or nobody could say; or the reason of `exchange.due`
 */
export async function mustBeReadable(
  request: Omit<ReadRequest, 'client'>,
  exchange: Exchange,
  { access }: Sources,
): Promise<Extract<ReadVerdict, { allowed: true }>> {
  const { client } = exchange;
  const verdict = await within(exchange.span, { name: 'access check', kind: 'internal' }, async (span) => {
    const said = await access.mayRead({ ...request, client }, originCall(exchange, span));
    span?.set({ 'shoal.allowed': said.allowed, 'shoal.refusal': said.allowed ? undefined : said.error.code });
    return said;
  });
  if (!verdict.allowed) throw verdict.error;
  return verdict;
}

/**
 * Opens a reader no later than the answer is due. The reader outlives that moment: it is bound to the client only.
 * @throws OriginError, PullError, or the reason of `exchange.signal`
 */
async function openInTime(exchange: Exchange, open: (signal: AbortSignal) => Promise<BlobReader>): Promise<BlobReader> {
  exchange.due.throwIfAborted();
  const cancel = new AbortController();
  const onDue = () => cancel.abort(exchange.due.reason);
  exchange.due.addEventListener('abort', onDue, { once: true });
  try {
    return await open(AbortSignal.any([cancel.signal, exchange.signal]));
  } finally {
    exchange.due.removeEventListener('abort', onDue);
  }
}

/**
 * Opens a blob for the client. Where the origin refuses what it had been known to allow, it is asked again next time.
 * @throws OriginError, PullError, or the reason of `exchange.signal`
 */
export async function openReader(
  exchange: Exchange,
  { access, pulls }: Sources,
  digest: Digest,
  source: PullSource,
  start: number,
): Promise<BlobReader> {
  try {
    return await openInTime(exchange, (signal) => pulls.open(digest, source, start, signal));
  } catch (error) {
    if (error instanceof OriginError && error.code === 'unauthorized') access.refused(source.repository, source.asker);
    throw error;
  }
}

export function answerDue(): OriginError {
  return new OriginError('timeout', 'no source answered in time');
}
