/**
 * The agent's own store, and behind it what containerd keeps. What is in either is found; all that arrives goes into the own one,
 * and what is said of quota, pins and eviction is said of that alone.
 */
import type { BlobId } from '@shoal/oci';
import type {
  BlobHandle,
  BlobRecord,
  BlobStore,
  KeptBlob,
  PartialBlob,
  RemovalReason,
  Shed,
  Shedding,
  VerifyOptions,
} from '../store/blob-store.ts';
import type { ContentShelf } from './content-shelf.ts';

export class SharedStore implements BlobStore {
  readonly pins: BlobStore['pins'];
  readonly notes: BlobStore['notes'];
  readonly #own: BlobStore;
  readonly #content: Pick<ContentShelf, 'find' | 'open' | 'doubt' | 'whole'>;

  constructor(own: BlobStore, content: Pick<ContentShelf, 'find' | 'open' | 'doubt' | 'whole'>) {
    this.#own = own;
    this.#content = content;
    this.pins = own.pins;
    this.notes = own.notes;
  }

  async find(id: BlobId): Promise<BlobRecord | undefined> {
    return (await this.#own.find(id)) ?? this.#content.find(id);
  }

  async open(id: BlobId, options?: { isUse?: boolean }): Promise<BlobHandle | undefined> {
    return (await this.#own.open(id, options)) ?? (await this.#content.open(id));
  }

  /** Whoever found damage had it open from one of the two: containerd's file must prove itself again. */
  async drop(id: BlobId, reason: RemovalReason = 'damaged'): Promise<void> {
    if (reason === 'damaged') this.#content.doubt(id);
    await this.#own.drop(id, reason);
  }

  /** Every blob that can be given out, once. */
  async *list(): AsyncGenerator<BlobRecord> {
    yield* this.#own.list();
    for (const record of [...this.#content.whole()]) {
      if ((await this.#own.find(record.id)) === undefined) yield record;
    }
  }

  partial(id: BlobId, sizeBytes: number): Promise<PartialBlob> {
    return this.#own.partial(id, sizeBytes);
  }

  put(id: BlobId, bytes: Uint8Array, mediaType?: string): Promise<void> {
    return this.#own.put(id, bytes, mediaType);
  }

  kept(): KeptBlob[] {
    return this.#own.kept();
  }

  usage(): { bytes: number; blobs: number; quotaBytes: number } {
    return this.#own.usage();
  }

  shed(shedding: Shedding, reason: RemovalReason): Promise<Shed> {
    return this.#own.shed(shedding, reason);
  }

  verify(id: BlobId, options: VerifyOptions): Promise<'whole' | 'damaged' | undefined> {
    return this.#own.verify(id, options);
  }

  close(): Promise<void> {
    return this.#own.close();
  }
}
