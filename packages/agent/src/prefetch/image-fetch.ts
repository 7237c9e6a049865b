/**
 * One image on its way into this node's store, as the node itself may read it:
 *
 *   may the registry be asked? ─► resolve as the node ─► walk ─► a few blobs at a time, through the pull room
 *
 * The pull room brings what a client's pull would: peers, leases, the cache. It is asked in the background, and without
 * reading, so that no piece becomes urgent; a blob that does not come so is read as by a client, which looks harder.
 * Nothing is recorded as readable: who may read the image through the mirror is asked then, as if it were not here.
 */
import {
  type Descriptor,
  type Digest,
  type ImageReference,
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  type Platform,
} from '@shoal/oci';
import type { ClusterLookups } from '../access/cluster-lookups.ts';
import { type OriginClient, OriginError, type Repository } from '../origin/origin-client.ts';
import { PullError } from '../pull/pull-error.ts';
import type { BlobReader, Keeping, PullSource, Pulls } from '../pull/pulls.ts';
import type { RateLane } from '../rate/rate-limit.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { FetchedTags } from './fetched-tags.ts';
import { type NamedManifest, walkImage } from './image-walk.ts';
import { PrefetchError } from './prefetch-error.ts';

const BLOBS_AT_ONCE = 3;
/** In a row, without a byte more. */
const MAX_TRIES = 3;
const RETRY_AFTER_MS = 1_000;

export interface ImageFetchOptions {
  image: ImageReference;
  platform: Platform | 'all';
  /** Undefined: as fast as it comes. */
  lane: RateLane | undefined;
  pullId: string;
}

export interface ImageFetchDependencies {
  origin: Pick<OriginClient, 'allowed'>;
  lookups: Pick<ClusterLookups, 'resolve'>;
  pulls: Pick<Pulls, 'open' | 'expect'>;
  tags: FetchedTags;
  /** Most bytes that the store keeps. */
  quotaBytes: () => number;
}

/** On the disk, and what of it came for this. */
export interface FetchedBytes {
  doneBytes: number;
  totalBytes: number;
  fromPeers: number;
  fromOrigin: number;
}

export class ImageFetch {
  readonly #options: ImageFetchOptions;
  readonly #dependencies: ImageFetchDependencies;
  readonly #repository: Repository;
  readonly #under = new Set<Keeping>();
  readonly #fetched: FetchedBytes = { doneBytes: 0, totalBytes: 0, fromPeers: 0, fromOrigin: 0 };
  #blobs: Descriptor[] = [];

  constructor(options: ImageFetchOptions, dependencies: ImageFetchDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    const { registry, repository } = options.image;
    this.#repository = { registry, name: repository };
  }

  /** Of this moment. */
  progress(): FetchedBytes {
    const sum = { ...this.#fetched };
    for (const keeping of this.#under) add(sum, keeping);
    return sum;
  }

  /** Reads the manifests; after it the total is known. @throws PrefetchError, OriginError, PullError, or the signal's reason */
  async walk(signal: AbortSignal): Promise<void> {
    const { image, platform, pullId } = this.#options;
    const { origin, lookups, pulls, tags } = this.#dependencies;
    const { registry } = this.#repository;
    if (!origin.allowed(registry))
      throw new PrefetchError('refused', `this node may not ask ${registry} (--allow-registry)`);
    const reference = image.digest ?? image.tag ?? 'latest';
    const question = { repository: this.#repository, reference, accept: MANIFEST_ACCEPT };
    const root = await lookups.resolve(question, { signal, pullId, asker: 'node' });
    if (image.digest === undefined) tags.note(this.#repository, reference, root.digest);
    this.#blobs = await walkImage(root, platform, (manifest) => this.#manifest(manifest, signal));
    for (const { sizeBytes } of this.#blobs) this.#fetched.totalBytes += sizeBytes;
    pulls.expect(
      registry,
      this.#blobs.map(({ digest }) => digest),
    );
  }

  /** @throws as `walk` */
  async fetch(signal: AbortSignal): Promise<void> {
    const quotaBytes = this.#dependencies.quotaBytes();
    if (this.#fetched.totalBytes > quotaBytes) {
      const sizes = `${this.#fetched.totalBytes} bytes, the cache keeps ${quotaBytes}`;
      throw new PrefetchError('no-room', `the image is larger than this node's cache: ${sizes} (--cache-size)`);
    }
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const left = this.#blobs.values();
    const lane = async (): Promise<void> => {
      for (const blob of left) await this.#blob(blob, both);
    };
    const lanes = Array.from({ length: BLOBS_AT_ONCE }, () => lane());
    try {
      await Promise.all(lanes);
    } finally {
      // The first failure ends the others; none is left behind.
      stop.abort();
      await Promise.allSettled(lanes);
    }
  }

  async #manifest(manifest: NamedManifest, signal: AbortSignal): Promise<Uint8Array> {
    const { digest, sizeBytes, mediaType } = manifest;
    if (sizeBytes > MAX_MANIFEST_BYTES) throw new PrefetchError('bad-manifest', 'a manifest is larger than 4 MiB');
    this.#fetched.totalBytes += sizeBytes;
    const type = mediaType === '' ? {} : { mediaType };
    const source = { ...this.#source(sizeBytes), kind: 'manifest', accept: MANIFEST_ACCEPT, ...type } as const;
    return await this.#kept(digest, source, signal, 0, async (reader) => {
      const chunks: Buffer[] = [];
      for await (const chunk of reader.bytes(0, undefined, signal)) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks, sizeBytes);
    });
  }

  async #blob({ digest, sizeBytes }: Descriptor, signal: AbortSignal): Promise<void> {
    const source = { ...this.#source(sizeBytes), kind: 'blob' } as const;
    for (let tries = 1, held = 0; ; tries++) {
      let reached = 0;
      try {
        // Opened at its end, so that nothing is decided before the pull has ended: nobody waits for a first byte.
        await this.#kept(digest, source, signal, sizeBytes, async (reader, keeping) => {
          try {
            if (tries > 1) await readToTheEnd(reader, signal);
            await keeping.arrived(signal);
          } finally {
            reached = keeping.progress().heldBytes;
          }
        });
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (tries >= MAX_TRIES || !isWorthAnotherTry(error)) throw error;
      }
      if (reached > held) tries = 1;
      held = reached;
      await unlessAborted(new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS)), signal);
    }
  }

  /** Has the blob in the store when it is done. */
  async #kept<T>(
    digest: Digest,
    source: PullSource,
    signal: AbortSignal,
    start: number,
    read: (reader: BlobReader, keeping: Keeping) => Promise<T>,
  ): Promise<T> {
    const reader = await this.#dependencies.pulls.open(digest, source, start, signal);
    const { keeping } = reader;
    let isThere = false;
    try {
      if (keeping === undefined) throw new PrefetchError('no-room', `${digest} cannot be kept: no room, or no size`);
      this.#under.add(keeping);
      const result = await read(reader, keeping);
      await keeping.arrived(signal);
      isThere = true;
      return result;
    } finally {
      reader.close();
      if (keeping !== undefined && this.#under.delete(keeping)) {
        // What is held of a blob that did not come counts again with the next try.
        const doneBytes = this.#fetched.doneBytes + (isThere ? keeping.progress().heldBytes : 0);
        add(this.#fetched, keeping);
        this.#fetched.doneBytes = doneBytes;
      }
    }
  }

  #source(sizeHintBytes: number): Omit<PullSource, 'kind'> {
    const { lane, pullId } = this.#options;
    return { repository: this.#repository, asker: 'node', sizeHintBytes, pullId, background: { lane } };
  }
}

function add(sum: FetchedBytes, keeping: Keeping): void {
  const { heldBytes, fromPeers, fromOrigin } = keeping.progress();
  sum.doneBytes += heldBytes;
  sum.fromPeers += fromPeers;
  sum.fromOrigin += fromOrigin;
}

async function readToTheEnd(reader: BlobReader, signal: AbortSignal): Promise<void> {
  const bytes = reader.bytes(0, undefined, signal)[Symbol.asyncIterator]();
  while ((await bytes.next()).done !== true);
}

function isWorthAnotherTry(error: unknown): boolean {
  if (error instanceof OriginError) return error.temporary;
  return error instanceof PullError && (error.code === 'no-source' || error.code === 'mismatch');
}
