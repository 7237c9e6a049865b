/** What blobs are, as far as the manifests that are here tell. */
import { type BlobId, blobIdOf, DOCKER_CONFIG, isManifestMediaType, OCI_CONFIG, registryOf } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import type { BlobStore, KeptBlob } from '../store/blob-store.ts';
import { readManifest } from './held-image.ts';

export type BlobKind = 'index' | 'manifest' | 'config' | 'layer' | 'other';

/** Those used last; of more, the blobs' kinds are not known. */
const MAX_MANIFESTS = 2_000;

export class BlobKinds {
  readonly #store: Pick<BlobStore, 'open'>;
  /** What each manifest says: it never says anything else. */
  readonly #said = new LRUCache<BlobId, ReadonlyMap<BlobId, BlobKind>>({ max: MAX_MANIFESTS });

  constructor(store: Pick<BlobStore, 'open'>) {
    this.#store = store;
  }

  /** @param kept the least recently used first */
  async of(kept: readonly KeptBlob[]): Promise<Map<BlobId, BlobKind>> {
    const kinds = new Map<BlobId, BlobKind>();
    const manifests = kept.filter(({ mediaType = '' }) => isManifestMediaType(mediaType));
    for (const { id } of manifests.slice(-MAX_MANIFESTS)) {
      for (const [child, kind] of (await this.#saidBy(id)) ?? []) kinds.set(child, kind);
    }
    for (const { id, mediaType = '' } of manifests) kinds.set(id, manifestKind(mediaType));
    return kinds;
  }

  async #saidBy(id: BlobId): Promise<ReadonlyMap<BlobId, BlobKind> | undefined> {
    const known = this.#said.get(id);
    if (known !== undefined) return known;
    const manifest = await readManifest(id, this.#store);
    if (manifest === undefined) return undefined;
    const said = new Map(
      manifest.children.map(({ digest, mediaType, kind }) => {
        const child = blobIdOf(registryOf(id), digest);
        return [child, kind === 'manifest' ? manifestKind(mediaType) : blobKind(mediaType)] as const;
      }),
    );
    this.#said.set(id, said);
    return said;
  }
}

function manifestKind(mediaType: string): BlobKind {
  return /index|manifest\.list/.test(mediaType) ? 'index' : 'manifest';
}

function blobKind(mediaType: string): BlobKind {
  if (mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG) return 'config';
  return /layer|rootfs/.test(mediaType) ? 'layer' : 'other';
}
