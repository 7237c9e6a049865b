/** What is cached where: tags by the holders of their manifests, and blobs. How much is looked at for one answer is bounded. */
import { type BlobId, blobIdOf } from '@shoal/oci';
import type { Directory } from '../directory/directory.ts';
import type { State } from '../state/state.ts';
import type { ActiveBlobs } from './active-blobs.ts';
import type { HeldBlob, HeldContent, HeldImage, Holders } from './answers.ts';

const MAX_LOOKED_AT = 100_000;
export const MAX_FOUND = 50;
const MAX_NODES_NAMED = 20;

export interface HeldContentDependencies {
  directory: Pick<Directory, 'blobs' | 'countsOf' | 'some'>;
  state: Pick<State, 'references'>;
  blobs: Pick<ActiveBlobs, 'told'>;
}

/** @param find part of a tag's or repository's name, or of a digest; empty: what most nodes hold */
export function heldContent(find: string, dependencies: HeldContentDependencies): HeldContent {
  const wanted = find.trim().toLowerCase();
  const images = imagesOf(wanted, dependencies);
  const blobs = blobsOf(wanted, dependencies);
  return { images: images.found, blobs: blobs.found, partial: images.partial || blobs.partial };
}

function imagesOf(wanted: string, dependencies: HeldContentDependencies): { found: HeldImage[]; partial: boolean } {
  // One tag may be known several times: each login's answer is kept apart.
  const found = new Map<string, HeldImage>();
  let lookedAt = 0;
  for (const { registry, repository, reference, digest, resolvedAtMs } of dependencies.state.references()) {
    if (lookedAt++ >= MAX_LOOKED_AT) break;
    const image = `${registry}/${repository}${reference === digest ? '' : `:${reference}`}`;
    if (!image.toLowerCase().includes(wanted) && !digest.includes(wanted)) continue;
    const key = `${image}@${digest}`;
    const known = found.get(key);
    if (known !== undefined && known.resolvedAtMs >= resolvedAtMs) continue;
    if (known === undefined && found.size > MAX_FOUND) break;
    found.set(key, { image, digest, resolvedAtMs, ...holdersOf(blobIdOf(registry, digest), dependencies) });
  }
  const all = [...found.values()];
  // What is named by its digest alone is told only where no tag names it.
  const tagged = new Set(all.flatMap(({ image, digest }) => (isTagged(image) ? [digest] : [])));
  const named = all.filter(({ image, digest }) => isTagged(image) || !tagged.has(digest));
  const images = named.slice(0, MAX_FOUND).sort((one, other) => other.resolvedAtMs - one.resolvedAtMs);
  return { found: images, partial: found.size > MAX_FOUND || lookedAt > MAX_LOOKED_AT };
}

function isTagged(image: string): boolean {
  return image.lastIndexOf(':') > image.lastIndexOf('/');
}

function blobsOf(wanted: string, dependencies: HeldContentDependencies): { found: HeldBlob[]; partial: boolean } {
  const { directory, blobs } = dependencies;
  let most: { blob: BlobId; holding: number }[] = [];
  let lookedAt = 0;
  let matching = 0;
  for (const blob of directory.blobs()) {
    if (lookedAt++ >= MAX_LOOKED_AT) break;
    if (!blob.includes(wanted) && blobs.told(blob)?.repository?.toLowerCase().includes(wanted) !== true) continue;
    matching++;
    most.push({ blob, holding: directory.countsOf(blob).holding });
    if (most.length >= 20 * MAX_FOUND) most = mostHeld(most);
  }
  const found = mostHeld(most).map(({ blob }): HeldBlob => {
    const { sizeBytes, repository } = blobs.told(blob) ?? {};
    return {
      blob,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(repository === undefined ? {} : { repository }),
      ...holdersOf(blob, dependencies),
    };
  });
  return { found, partial: matching > MAX_FOUND || lookedAt > MAX_LOOKED_AT };
}

function mostHeld(blobs: { blob: BlobId; holding: number }[]): { blob: BlobId; holding: number }[] {
  return blobs.sort((one, other) => other.holding - one.holding).slice(0, MAX_FOUND);
}

function holdersOf(blob: BlobId, { directory }: HeldContentDependencies): Holders {
  const nodes = directory.some(blob, MAX_NODES_NAMED, true).map(({ name, peerId }) => name ?? peerId);
  return { ...directory.countsOf(blob), nodes: nodes.sort(collator.compare) };
}

const collator = new Intl.Collator('en', { numeric: true });
