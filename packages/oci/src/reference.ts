/** Image references as people write them, and the grammar of repository names and tags (OCI distribution spec). */
import { type Digest, parseDigest } from './digest.ts';
import { DOCKER_HUB, isRegistryHost, normaliseRegistryHost } from './registry-host.ts';

const MAX_REPOSITORY_LENGTH = 255;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** At least one of `tag` and `digest` is there; with both, the digest decides. */
export interface ImageReference {
  /** Normalised host, e.g. `docker.io` or `127.0.0.1:5000`. */
  registry: string;
  /** e.g. `library/alpine` */
  repository: string;
  tag?: string;
  digest?: Digest;
}

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Docker Hub keeps its own images under `library/`: `alpine` there is `library/alpine`. */
export function qualifyRepository(registry: string, repository: string): string {
  return registry === DOCKER_HUB && !repository.includes('/') ? `library/${repository}` : repository;
}

/** Reads `alpine`, `ghcr.io/o/i:tag`, `h:5000/a@sha256:…`. Returns undefined when the text is no image reference. */
export function parseImageReference(text: string): ImageReference | undefined {
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : parseDigest(text.slice(at + 1));
  if (at !== -1 && digest === undefined) return undefined;
  const named = at === -1 ? text : text.slice(0, at);

  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !isTag(tag)) return undefined;
  const name = hasTag ? named.slice(0, colon) : named;

  const slash = name.indexOf('/');
  const hasHost = slash !== -1 && isRegistryHost(name.slice(0, slash));
  const registry = hasHost ? normaliseRegistryHost(name.slice(0, slash)) : DOCKER_HUB;
  if (registry === undefined) return undefined;
  const repository = qualifyRepository(registry, hasHost ? name.slice(slash + 1) : name);
  if (!isRepositoryName(repository)) return undefined;

  if (digest === undefined) return { registry, repository, tag: tag ?? 'latest' };
  return { registry, repository, ...(tag === undefined ? {} : { tag }), digest };
}
