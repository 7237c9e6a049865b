/**
 * What the origin has let this node read, by repository: every manifest it served, with the digests and sizes the
 * manifest names. One durable note per manifest; a repository's notes are read when it is first asked about, and the
 * repositories used last stay in memory.
 */
import { type Digest, parseDigest } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Repository } from '../origin/origin-client.ts';
import type { BlobStore } from '../store/blob-store.ts';

/** A yes is good for 30 days after it was last given. */
const TTL_MS: number = 30 * 24 * 60 * 60_000;
/** A note that is repeated within an hour is not written again. */
const REWRITE_AFTER_MS: number = 60 * 60_000;
const MAX_REPOSITORIES = 64;
/** Digests per repository; beyond that the oldest manifests are forgotten. */
const MAX_DIGESTS = 4096;
const PREFIX = 'access/';

export interface Readable {
  digest: Digest;
  /** Undefined when the origin did not tell. */
  sizeBytes: number | undefined;
  /** Of a manifest, when somebody said it. */
  mediaType?: string | undefined;
}

interface Entry {
  recordedAtMs: number;
  readable: Readable[];
}

const noteSchema = z.object({ t: z.number(), c: z.array(z.tuple([z.string(), z.number().nullable()], z.string())) });

export interface ReadableIndexDependencies {
  notes: BlobStore['notes'];
  /** Milliseconds since the epoch. */
  now: () => number;
}

export class ReadableIndex {
  readonly #notes: BlobStore['notes'];
  readonly #now: () => number;
  readonly #repositories = new LRUCache<string, Promise<Known>>({ max: MAX_REPOSITORIES });

  constructor({ notes, now }: ReadableIndexDependencies) {
    this.#notes = notes;
    this.#now = now;
  }

  async find(repository: Repository, digest: Digest): Promise<Readable | undefined> {
    const known = await this.#known(repository);
    return known.find(digest, this.#now() - TTL_MS);
  }

  /** Adds what `owner` (a manifest, or a blob asked for on its own) makes readable to what it made readable before. */
  async record(repository: Repository, owner: Digest, readable: readonly Readable[]): Promise<void> {
    const known = await this.#known(repository);
    const nowMs = this.#now();
    const before = known.entries.get(owner);
    const entry = merge(before, readable, nowMs);
    const isSame = before !== undefined && sameReadable(before.readable, entry.readable);
    if (isSame && nowMs - before.recordedAtMs < REWRITE_AFTER_MS) return;
    const forgotten = known.put(owner, entry);
    try {
      await this.#notes.put(keyOf(repository) + owner, encode(entry));
    } catch (error) {
      // Known until the agent ends, and written the next time: a full disk may have room then.
      known.put(owner, { ...entry, recordedAtMs: nowMs - REWRITE_AFTER_MS });
      throw error;
    }
    for (const digest of forgotten) await this.#notes.delete(keyOf(repository) + digest);
  }

  /** Deletes expired and unreadable notes; meant for the agent's start. */
  async prune(): Promise<void> {
    for await (const [key, value] of this.#notes.entries(PREFIX)) {
      const entry = decode(value);
      if (entry === undefined || entry.recordedAtMs < this.#now() - TTL_MS) await this.#notes.delete(key);
    }
  }

  #known(repository: Repository): Promise<Known> {
    const key = keyOf(repository);
    const held = this.#repositories.get(key);
    if (held !== undefined) return held;
    const loading = this.#load(key);
    this.#repositories.set(key, loading);
    // A store that fails now may answer later.
    loading.catch(() => this.#repositories.delete(key));
    return loading;
  }

  async #load(prefix: string): Promise<Known> {
    const found: [Digest, Entry][] = [];
    for await (const [key, value] of this.#notes.entries(prefix)) {
      const owner = parseDigest(key.slice(prefix.length));
      const entry = decode(value);
      if (owner !== undefined && entry !== undefined) found.push([owner, entry]);
    }
    const known = new Known();
    found.sort(([, a], [, b]) => a.recordedAtMs - b.recordedAtMs);
    for (const [owner, entry] of found) known.put(owner, entry);
    return known;
  }
}

/** One repository's entries, oldest first. */
class Known {
  readonly entries = new Map<Digest, Entry>();
  readonly #readable = new Map<Digest, Readable & { recordedAtMs: number }>();
  #digests = 0;

  find(digest: Digest, notBeforeMs: number): Readable | undefined {
    const found = this.#readable.get(digest);
    return found === undefined || found.recordedAtMs < notBeforeMs ? undefined : found;
  }

  /** Returns the owners that had to make room. */
  put(owner: Digest, entry: Entry): Digest[] {
    this.#digests += entry.readable.length - (this.entries.get(owner)?.readable.length ?? 0);
    this.entries.delete(owner);
    this.entries.set(owner, entry);
    const forgotten: Digest[] = [];
    for (const [oldest, { readable }] of this.entries) {
      if (this.#digests <= MAX_DIGESTS || oldest === owner) break;
      this.entries.delete(oldest);
      this.#digests -= readable.length;
      forgotten.push(oldest);
    }
    if (forgotten.length > 0) this.#rebuild();
    else this.#add(entry);
    return forgotten;
  }

  #rebuild(): void {
    this.#readable.clear();
    for (const entry of this.entries.values()) this.#add(entry);
  }

  #add({ recordedAtMs, readable }: Entry): void {
    for (const one of readable) {
      this.#readable.set(one.digest, { ...complete(one, this.#readable.get(one.digest)), recordedAtMs });
    }
  }
}

function merge(before: Entry | undefined, readable: readonly Readable[], recordedAtMs: number): Entry {
  const merged = new Map(before?.readable.map((one) => [one.digest, one]));
  for (const one of readable) merged.set(one.digest, complete(one, merged.get(one.digest)));
  return { recordedAtMs, readable: [...merged.values()] };
}

/** What is said now, and what was said before where nothing is. */
function complete({ digest, sizeBytes, mediaType }: Readable, before: Readable | undefined): Readable {
  return { digest, sizeBytes: sizeBytes ?? before?.sizeBytes, mediaType: mediaType ?? before?.mediaType };
}

function sameReadable(a: readonly Readable[], b: readonly Readable[]): boolean {
  const isSame = (one: Readable, index: number) =>
    one.sizeBytes === b[index]?.sizeBytes && one.mediaType === b[index]?.mediaType;
  return a.length === b.length && a.every(isSame);
}

/** No host or repository name contains `@`, so one repository's keys never start with another's. */
function keyOf({ registry, name }: Repository): string {
  return `${PREFIX}${registry}/${name}@`;
}

function encode({ recordedAtMs, readable }: Entry): string {
  const children = readable.map(({ digest, sizeBytes, mediaType }) => [
    digest,
    sizeBytes ?? null,
    ...(mediaType === undefined ? [] : [mediaType]),
  ]);
  return JSON.stringify({ t: recordedAtMs, c: children });
}

function decode(note: string): Entry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(note);
  } catch {
    return undefined;
  }
  const parsed = noteSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const readable = parsed.data.c.flatMap(([text, size, mediaType]) => {
    const digest = parseDigest(text);
    return digest === undefined ? [] : [{ digest, sizeBytes: size ?? undefined, mediaType }];
  });
  return { recordedAtMs: parsed.data.t, readable };
}
