/**
 * What an operator may call something in the cache: a digest, whole or its beginning, with the registry before it or without
 * (one blob, of every registry that it came from); or an image (all of it that is here).
 */
import { type BlobId, digestOf, type ImageReference, parseImageReference, registryOf } from '@shoal/oci';

const DIGEST = /^(?:(?<registry>[^/]+)\/)?(?<digest>sha(?:256|512):[0-9a-f]{1,128})$/;

export type CacheName =
  | { kind: 'digest'; text: string; registry: string | undefined; digest: string }
  | { kind: 'image'; text: string; image: ImageReference };

/** Undefined when it is neither. */
export function parseCacheName(text: string): CacheName | undefined {
  const { registry, digest } = DIGEST.exec(text)?.groups ?? {};
  if (digest !== undefined) return { kind: 'digest', text, registry, digest };
  const image = parseImageReference(text);
  return image === undefined ? undefined : { kind: 'image', text: nameOf(image), image };
}

/** Those of these blobs that a digest, or its beginning, means. More than one digest: it is too short. */
export function meantBy({ registry, digest }: CacheName & { kind: 'digest' }, ids: Iterable<BlobId>): BlobId[] {
  const isMeant = (id: BlobId): boolean =>
    digestOf(id).startsWith(digest) && (registry === undefined || registryOf(id) === registry);
  return [...ids].filter(isMeant);
}

/** Whole, so that one image has one name. */
function nameOf({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`;
}
