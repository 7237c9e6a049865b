/**
 * Which upstream object a request means. Pure: URL and headers in, a value out.
 *
 * The registry is named by `?ns=` (containerd, Docker 29+), else by the `OCI-Namespace` header, else by a first path
 * component that is a host (Podman, CRI-O, plain `docker pull 127.0.0.1:7300/ghcr.io/…`), else it is the default one.
 */
import {
  type Digest,
  isRegistryHost,
  isRepositoryName,
  isTag,
  normaliseRegistryHost,
  type OciErrorCode,
  parseDigest,
  qualifyRepository,
} from '@shoal/oci';
import type { Repository } from '../origin/origin-client.ts';

const MAX_URL_LENGTH = 4096;
const VERBS: ReadonlySet<string> = new Set(['manifests', 'blobs', 'referrers']);

export interface Addressed {
  repository: Repository;
  /** The registry as the client wrote it in `ns` or the header; echoed in the answer. */
  namespace: string | undefined;
  /** Path as the client wrote it, and its query without `ns`. */
  path: string;
  query: string;
}

export type Route =
  | { kind: 'ping' }
  | ({ kind: 'manifest'; reference: { tag: string } | { digest: Digest } } & Addressed)
  | ({ kind: 'blob'; digest: Digest } & Addressed)
  | ({ kind: 'tags' } & Addressed)
  | ({ kind: 'referrers'; digest: Digest } & Addressed)
  | { kind: 'malformed'; code: OciErrorCode; message: string }
  | { kind: 'unknown' };

/** `url` is the request target; `defaultRegistry` a normalised host. */
export function parseRoute(url: string, namespaceHeader: string | undefined, defaultRegistry: string): Route {
  if (url.length > MAX_URL_LENGTH) return malformed('NAME_INVALID', 'the URL is too long');
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' };
  if (!path.startsWith('/v2/')) return { kind: 'unknown' };
  const segments = decodeSegments(path.slice('/v2/'.length));
  if (segments === undefined) return malformed('NAME_INVALID', 'the path is not well encoded');
  const [verb = '', reference = ''] = segments.slice(-2);
  const isTags = verb === 'tags' && reference === 'list';
  if (!isTags && !VERBS.has(verb)) return { kind: 'unknown' };

  const query = new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1));
  const addressed = address(segments.slice(0, -2), query, namespaceHeader, defaultRegistry, path);
  if ('kind' in addressed) return addressed;
  if (isTags) return { kind: 'tags', ...addressed };
  return routeTo(verb, reference, addressed);
}

function routeTo(verb: string, reference: string, addressed: Addressed): Route {
  const digest = parseDigest(reference);
  if (digest === undefined) {
    if (verb !== 'manifests' || reference.includes(':')) return malformed('DIGEST_INVALID', 'not a digest');
    if (!isTag(reference)) return malformed('MANIFEST_INVALID', 'neither a tag nor a digest');
    return { kind: 'manifest', reference: { tag: reference }, ...addressed };
  }
  if (verb === 'blobs') return { kind: 'blob', digest, ...addressed };
  if (verb === 'referrers') return { kind: 'referrers', digest, ...addressed };
  return { kind: 'manifest', reference: { digest }, ...addressed };
}

function address(
  names: readonly string[],
  query: URLSearchParams,
  namespaceHeader: string | undefined,
  defaultRegistry: string,
  path: string,
): Addressed | Route {
  const named = new Set(query.getAll('ns'));
  if (named.size > 1) return malformed('NAME_INVALID', 'ns is given twice');
  const namespace = [...named][0] ?? namespaceHeader;
  const [first = '', ...rest] = names;
  const isPrefixed = namespace === undefined && rest.length > 0 && isRegistryHost(first);
  const host = namespace ?? (isPrefixed ? first : defaultRegistry);
  const registry = normaliseRegistryHost(host);
  if (registry === undefined) return malformed('NAME_INVALID', 'not a registry host');
  const name = qualifyRepository(registry, (isPrefixed ? rest : names).join('/'));
  if (!isRepositoryName(name)) return malformed('NAME_INVALID', 'not a repository name');
  query.delete('ns');
  return { repository: { registry, name }, namespace, path, query: query.toString() };
}

function decodeSegments(path: string): string[] | undefined {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

function malformed(code: OciErrorCode, message: string): Route {
  return { kind: 'malformed', code, message };
}
