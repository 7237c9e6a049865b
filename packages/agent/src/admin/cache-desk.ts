/**
 * What an operator may see and do of the cache. It finds out what names mean, and refuses what would be regretted; the store
 * does the rest, and tells peers and tracker of what goes.
 */
import { type BlobId, type Digest, digestOf, parseBlobId } from '@shoal/oci';
import type { Repository } from '../origin/origin-client.ts';
import { type BlobStore, type KeptBlob, type Shed, StoreError } from '../store/blob-store.ts';
import { type BlobKind, BlobKinds } from './blob-kinds.ts';
import { type CacheName, meantBy, parseCacheName } from './cache-name.ts';
import { imageBlobs } from './held-image.ts';

/** `unknown`: nothing here is called so. `pinned`: it is pinned. `busy`: the same is being done already. */
export type CacheRefusalCode = 'unknown' | 'ambiguous' | 'pinned' | 'too-many-pins' | 'busy';

/** Its message is one line: what is wrong, and what to do. */
export class CacheRefusal extends Error {
  readonly code: CacheRefusalCode;
  constructor(code: CacheRefusalCode, message: string) {
    super(message);
    this.name = 'CacheRefusal';
    this.code = code;
  }
}

export interface CacheDeskDependencies {
  store: Pick<BlobStore, 'kept' | 'find' | 'open' | 'drop' | 'shed' | 'verify' | 'pins' | 'usage'>;
  /** What a registry's blob is called in the store. */
  idOf: (registry: string, digest: Digest) => BlobId;
  /** What a tag was last known to be, the newest first. */
  tagDigests: (repository: Repository, tag: string) => Promise<Digest[]>;
  /** What containerd keeps of what this agent shares; undefined where it shares nothing of it. */
  runtimeContent?: () => InRuntime | undefined;
  clock: () => number;
}

export interface InRuntime {
  blobs: number;
  bytes: number;
}

export interface CacheUsage {
  bytes: number;
  blobs: number;
  quotaBytes: number;
  pinnedBytes: number;
  pinLimitBytes: number;
  /** Beside the cache: in containerd's own store, and shared from there. */
  inRuntime?: InRuntime;
}

export interface ListedBlob extends KeptBlob {
  kind: BlobKind | undefined;
}

export interface Removal {
  removed: KeptBlob[];
  /** Blobs of an image that stay because another pin names them. */
  keptPinned: number;
}

export interface PinResult {
  name: string;
  blobs: number;
  bytes: number;
  /** Of these blobs, those that are not here yet. */
  missing: number;
}

export interface VerifyProgress {
  checkedBlobs: number;
  checkedBytes: number;
  totalBlobs: number;
  totalBytes: number;
  /** Since the progress before. */
  damaged: KeptBlob[];
  /** Nothing is left to check. */
  isDone: boolean;
}

export class CacheDesk {
  readonly #dependencies: CacheDeskDependencies;
  readonly #kinds: BlobKinds;
  /** Of the verification under way. */
  #verifying: AbortSignal | undefined;

  constructor(dependencies: CacheDeskDependencies) {
    this.#dependencies = dependencies;
    this.#kinds = new BlobKinds(dependencies.store);
  }

  /** The least recently used first. */
  async *list(): AsyncGenerator<ListedBlob> {
    const kept = this.#dependencies.store.kept();
    const kinds = await this.#kinds.of(kept);
    for (const blob of kept) yield { ...blob, kind: kinds.get(blob.id) };
  }

  usage(): CacheUsage {
    const { store, runtimeContent } = this.#dependencies;
    const { pins } = store;
    const inRuntime = runtimeContent?.();
    return {
      ...store.usage(),
      pinnedBytes: pins.heldBytes(),
      pinLimitBytes: pins.limitBytes,
      ...(inRuntime === undefined ? {} : { inRuntime: { blobs: inRuntime.blobs, bytes: inRuntime.bytes } }),
    };
  }

  pins(): PinResult[] {
    return this.#dependencies.store.pins.list().map(({ name, blobs }) => this.#pinResult(name, blobs));
  }

  /** All of them or none. @throws CacheRefusal unknown, ambiguous, pinned */
  async remove(names: readonly string[], isForced: boolean): Promise<Removal> {
    const { store } = this.#dependencies;
    const going = new Set<BlobId>();
    const spared = new Set<BlobId>();
    for (const name of names.map(read)) {
      const { whole, parts } = await this.#held(name);
      const pinned = whole.filter((id) => store.pins.has(id));
      if (pinned.length > 0 && !isForced) {
        throw new CacheRefusal(
          'pinned',
          `${name.text} is pinned${this.#pinnedAs(pinned, name.text)}; unpin it, or add --force`,
        );
      }
      for (const id of [...whole, ...parts]) (isForced || !store.pins.has(id) ? going : spared).add(id);
    }
    if (isForced) await store.pins.forget(going);
    const kept = new Map(store.kept().map((blob) => [blob.id, blob]));
    const removed = [...going].flatMap((id) => kept.get(id) ?? []);
    for (const { id } of removed) await store.drop(id, 'removed');
    return { removed, keptPinned: spared.size };
  }

  async prune(wanted: {
    keepBytes?: number | undefined;
    olderThanMs?: number | undefined;
    isDryRun: boolean;
  }): Promise<Shed & { blobs: ListedBlob[] }> {
    const { store, clock } = this.#dependencies;
    // What a manifest says is lost when it goes.
    const kinds = await this.#kinds.of(store.kept());
    const { keepBytes = 0, olderThanMs, isDryRun } = wanted;
    const unused = olderThanMs === undefined ? {} : { unusedSinceMs: clock() - olderThanMs };
    const shed = await store.shed({ keepBytes, isDryRun, ...unused }, 'pruned');
    return { ...shed, blobs: shed.blobs.map((blob) => ({ ...blob, kind: kinds.get(blob.id) })) };
  }

  /**
   * Pins what the names mean: of an image its manifests, config and layers, those too that are still to come. An image that
   * was pinned before is pinned as it is now. @throws CacheRefusal unknown, ambiguous, too-many-pins
   */
  async pin(names: readonly string[]): Promise<PinResult[]> {
    const { store } = this.#dependencies;
    const pins = [];
    for (const name of names.map(read)) {
      if (name.kind === 'image') pins.push({ name: name.text, blobs: await this.#sized(await this.#imageBlobs(name)) });
      else for (const id of this.#blobs(name)) pins.push({ name: id, blobs: await this.#sized(new Map([[id, 0]])) });
    }
    for (const pin of pins) {
      await store.pins.put(pin).catch((error: unknown) => {
        if (!(error instanceof StoreError) || error.code !== 'too-many-pins') throw error;
        throw new CacheRefusal(
          'too-many-pins',
          `${error.message}; unpin others, or give the agent a larger --cache-size`,
        );
      });
    }
    return pins.map(({ name, blobs }) => this.#pinResult(name, blobs));
  }

  /** Returns the names of the pins that are gone. @throws CacheRefusal unknown, ambiguous, pinned (by an image) */
  async unpin(names: readonly string[]): Promise<string[]> {
    const { pins } = this.#dependencies.store;
    const going = names.map(read).flatMap((name) => this.#pinNames(name));
    for (const name of going) await pins.delete(name);
    return going;
  }

  /**
   * Reads every blob back, one after the other; damaged ones go. Yields as it goes on, at most about every `everyMs`.
   * @throws CacheRefusal busy; the reason of `signal`
   */
  async *verify(signal: AbortSignal, everyMs: number): AsyncGenerator<VerifyProgress> {
    if (this.#verifying?.aborted === false) {
      throw new CacheRefusal('busy', 'the cache is being verified already; wait until that is done');
    }
    this.#verifying = signal;
    try {
      yield* this.#verify(signal, everyMs);
    } finally {
      if (this.#verifying === signal) this.#verifying = undefined;
    }
  }

  async *#verify(signal: AbortSignal, everyMs: number): AsyncGenerator<VerifyProgress> {
    const { store, clock } = this.#dependencies;
    const kept = store.kept();
    let toldAtMs = clock();
    const totalBytes = kept.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let [checkedBlobs, checkedBytes] = [0, 0];
    let damaged: KeptBlob[] = [];
    const progress = (): VerifyProgress => ({
      checkedBlobs,
      checkedBytes,
      totalBlobs: kept.length,
      totalBytes,
      damaged,
      isDone: false,
    });
    const onBytes = (sizeBytes: number): void => {
      checkedBytes += sizeBytes;
    };
    for (const blob of kept) {
      const checking = store.verify(blob.id, { signal, onBytes });
      // Whoever listens may have gone when it fails.
      checking.catch(() => undefined);
      for (;;) {
        const pause = Promise.withResolvers<undefined>();
        const timer = setTimeout(() => pause.resolve(undefined), everyMs);
        const state = await Promise.race([checking.then((result) => ({ result })), pause.promise]).finally(() =>
          clearTimeout(timer),
        );
        if (state === undefined) {
          yield progress();
          continue;
        }
        if (state.result !== undefined) checkedBlobs++;
        if (state.result === 'damaged') damaged.push(blob);
        break;
      }
      if (damaged.length > 0 || clock() - toldAtMs >= everyMs) {
        yield progress();
        damaged = [];
        toldAtMs = clock();
      }
    }
    yield { ...progress(), isDone: true };
  }

  /** What a name means of what is here: what is named itself, and what belongs to it. */
  async #held(name: CacheName): Promise<{ whole: BlobId[]; parts: BlobId[] }> {
    if (name.kind === 'digest') return { whole: this.#blobs(name), parts: [] };
    const [root, ...parts] = (await this.#imageBlobs(name)).keys();
    return { whole: root === undefined ? [] : [root], parts };
  }

  #blobs(name: CacheName & { kind: 'digest' }): BlobId[] {
    const found = meantBy(
      name,
      this.#dependencies.store.kept().map(({ id }) => id),
    );
    mustBeOne(name, found, 'no blob of the cache has this digest; shoal cache ls lists them');
    return found;
  }

  /** The root first. */
  async #imageBlobs({ text, image }: CacheName & { kind: 'image' }): Promise<Map<BlobId, number>> {
    const { store, idOf, tagDigests } = this.#dependencies;
    const { registry, repository, tag = 'latest', digest } = image;
    const digests = digest === undefined ? await tagDigests({ registry, name: repository }, tag) : [digest];
    for (const candidate of digests) {
      const blobs = await imageBlobs(idOf(registry, candidate), store);
      if (blobs.size > 0) return blobs;
    }
    throw new CacheRefusal(
      'unknown',
      `${text}: no manifest of this image is in the cache; pull it first, or name digests`,
    );
  }

  /** With the sizes of what is here; a manifest may say anything. */
  async #sized(blobs: ReadonlyMap<BlobId, number>): Promise<Map<BlobId, number>> {
    const sized = new Map(blobs);
    for (const id of blobs.keys()) {
      const here = await this.#dependencies.store.find(id);
      if (here !== undefined) sized.set(id, here.sizeBytes);
    }
    return sized;
  }

  #pinNames(name: CacheName): string[] {
    const pins = this.#dependencies.store.pins.list();
    if (name.kind === 'image') {
      if (pins.some((pin) => pin.name === name.text)) return [name.text];
      throw new CacheRefusal('unknown', `${name.text} is not pinned; shoal cache ls --pins lists what is`);
    }
    const own = pins.flatMap((pin) => parseBlobId(pin.name) ?? []);
    const found = meantBy(name, own);
    if (found.length === 0) {
      const as = this.#pinnedAs(
        meantBy(
          name,
          pins.flatMap(({ blobs }) => [...blobs.keys()]),
        ),
      );
      if (as !== '') throw new CacheRefusal('pinned', `${name.text} is pinned${as}; unpin that`);
    }
    mustBeOne(name, found, 'is not pinned; shoal cache ls --pins lists what is');
    return found;
  }

  /** " as NAME, NAME and 3 more", the pins that name any of these, but for one called `own`. */
  #pinnedAs(ids: readonly BlobId[], own?: string): string {
    const pins = this.#dependencies.store.pins.list();
    const names = pins.filter(({ name, blobs }) => name !== own && ids.some((id) => blobs.has(id)));
    const more = names.length > 2 ? ` and ${names.length - 2} more` : '';
    const shown = names.slice(0, 2).map(({ name }) => name);
    return shown.length === 0 ? '' : ` as ${shown.join(', ')}${more}`;
  }

  #pinResult(name: string, blobs: ReadonlyMap<BlobId, number>): PinResult {
    const here = new Set(this.#dependencies.store.kept().map(({ id }) => id));
    const bytes = blobs.values().reduce((sum, sizeBytes) => sum + sizeBytes, 0);
    return {
      name,
      blobs: blobs.size,
      bytes,
      missing: blobs
        .keys()
        .filter((id) => !here.has(id))
        .toArray().length,
    };
  }
}

function read(text: string): CacheName {
  const name = parseCacheName(text);
  if (name !== undefined) return name;
  throw new CacheRefusal(
    'unknown',
    `${JSON.stringify(text)} is neither a digest nor an image, e.g. ghcr.io/org/app:v1`,
  );
}

/** @throws CacheRefusal unknown, ambiguous */
function mustBeOne(name: CacheName, found: readonly BlobId[], otherwise: string): void {
  if (found.length === 0) throw new CacheRefusal('unknown', `${name.text}: ${otherwise}`);
  if (new Set(found.map(digestOf)).size > 1) {
    throw new CacheRefusal('ambiguous', `${name.text} is the beginning of several digests; give more of it`);
  }
}
