/**
 * From what a reference names to all that a runtime would pull for it: index → manifests of the platform → config and
 * layers. Attestations are nobody's to run and left out, unless everything is asked for; so are layers that are not the
 * registry's own.
 */
import {
  type Descriptor,
  type Digest,
  entriesFor,
  type IndexEntry,
  indexEntries,
  ManifestError,
  manifestChildren,
  type Platform,
  platformText,
} from '@shoal/oci';
import { PrefetchError } from './prefetch-error.ts';

/** An index may name indexes; no registry is known to go deeper than two. */
const MAX_DEPTH = 4;
const MAX_MANIFESTS = 256;
const MAX_BLOBS = 4_096;
const MAX_TOLD_PLATFORMS = 8;

export interface NamedManifest {
  digest: Digest;
  sizeBytes: number;
  /** Empty when nobody says. */
  mediaType: string;
}

/** Each manifest once, each blob once. @throws PrefetchError, what `read` throws */
export async function walkImage(
  root: NamedManifest,
  wanted: Platform | 'all',
  read: (manifest: NamedManifest) => Promise<Uint8Array>,
): Promise<Descriptor[]> {
  const blobs = new Map<Digest, Descriptor>();
  const seen = new Set<Digest>([root.digest]);
  let level: NamedManifest[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === MAX_DEPTH)
      throw new PrefetchError('bad-manifest', `indexes within indexes, more than ${MAX_DEPTH} deep`);
    const next: NamedManifest[] = [];
    for (const manifest of level) {
      for (const child of childrenOf(await read(manifest), wanted)) {
        if (child.kind === 'blob') blobs.set(child.digest, child);
        else if (!seen.has(child.digest)) next.push(child);
        if (child.kind === 'manifest') seen.add(child.digest);
      }
      if (seen.size > MAX_MANIFESTS || blobs.size > MAX_BLOBS) {
        throw new PrefetchError('bad-manifest', `more than ${MAX_MANIFESTS} manifests or ${MAX_BLOBS} blobs`);
      }
    }
    level = next;
  }
  return [...blobs.values()];
}

function childrenOf(bytes: Uint8Array, wanted: Platform | 'all'): Descriptor[] {
  try {
    const entries = indexEntries(bytes);
    const children = entries === undefined ? manifestChildren(bytes) : chosenOf(entries, wanted);
    return children.filter(({ foreign }) => !foreign);
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    throw new PrefetchError('bad-manifest', `a manifest that cannot be read: ${error.message}`, { cause: error });
  }
}

function chosenOf(entries: readonly IndexEntry[], wanted: Platform | 'all'): Descriptor[] {
  const chosen = wanted === 'all' ? entries : entriesFor(entries, wanted);
  if (chosen.length > 0 || wanted === 'all') return chosen.map(({ descriptor }) => descriptor);
  const named = entries.flatMap(({ platform, isAttestation }) =>
    platform && !isAttestation ? [platformText(platform)] : [],
  );
  const offered = [...new Set(named)].slice(0, MAX_TOLD_PLATFORMS).join(', ');
  throw new PrefetchError('no-platform', `no image for ${platformText(wanted)}; there is ${offered || 'none'}`);
}
