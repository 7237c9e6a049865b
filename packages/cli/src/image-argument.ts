import { type ImageReference, parseImageReference } from '@shoal/oci';
import { InvalidArgumentError } from 'commander';

/** @throws InvalidArgumentError */
export function readImage(text: string): ImageReference {
  const image = parseImageReference(text);
  if (image === undefined) throw new InvalidArgumentError('not an image reference; an example: ghcr.io/org/image:tag');
  return image;
}

/** `REGISTRY/REPOSITORY:TAG` or `…@DIGEST`. */
export function imageName(image: ImageReference): string {
  const { registry, repository, digest } = image;
  return `${registry}/${repository}${digest === undefined ? ':' : '@'}${referenceOf(image)}`;
}

/** What its manifest is asked for by. */
export function referenceOf({ tag, digest }: ImageReference): string {
  return digest ?? tag ?? 'latest';
}
