/** `tags/list` and `referrers`: read-only lists that change, passed through from the origin, never kept. */
import { type Answer, notServed, refusal } from './answer.ts';
import { type Exchange, originCall, type Sources } from './exchange.ts';
import type { Addressed } from './route.ts';

const PASSED_HEADERS: readonly string[] = ['content-type', 'oci-filters-applied'];

/** `tail` is the path after the repository name. @throws OriginError, or the reason of a signal */
export async function answerRelay(
  route: Addressed,
  tail: string,
  exchange: Exchange,
  { access, origin }: Sources,
): Promise<Answer> {
  const path = route.query === '' ? tail : `${tail}?${route.query}`;
  const { accept } = exchange;
  const call = { ...originCall(exchange), ...(accept === undefined ? {} : { accept }) };
  const { repository } = route;
  const asker = access.askerFor(repository, exchange.client);
  const upstream = await origin.relay(repository, path, { ...call, asker });
  if (upstream.status === 404) return refusal(404, 'NAME_UNKNOWN', 'the origin does not know it');
  if (upstream.status !== 200) return notServed('NAME_UNKNOWN', new Error(`origin answered ${upstream.status}`));
  const headers: Record<string, string> = {};
  for (const name of PASSED_HEADERS) {
    const value = upstream.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  const link = upstream.headers.link;
  if (link !== undefined) headers.link = rewriteLink(link, route);
  if (!exchange.isHead) return { status: 200, headers, body: upstream.body, result: 'ok' };
  headers['content-length'] = upstream.headers['content-length'] ?? String(upstream.body.length);
  return { status: 200, headers, body: '', result: 'ok' };
}

/** The next page is the same list with another query, so only the query is taken from the origin's link. */
export function rewriteLink(link: string, route: Pick<Addressed, 'path' | 'namespace'>): string {
  return link.replaceAll(/<([^<>]*)>/g, (_, target: string) => {
    const mark = target.indexOf('?');
    const query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
    query.delete('ns');
    if (route.namespace !== undefined) query.set('ns', route.namespace);
    return `<${route.path}?${query.toString()}>`;
  });
}
