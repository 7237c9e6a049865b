/**
 * The little that must outlive the tracker's process: which members are barred, and what references last were. Both
 * are small, so they are answered from memory; the shelf underneath is only read at the start and written behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ReferenceQuery, type ReferenceRecord, referenceRecordSchema } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { z } from 'zod';
import { NotLeadingError } from '../replica/redis-shelf.ts';
import type { Shelf } from './shelf.ts';

const DEFAULT_MAX_REFERENCES = 50_000;
/** A reference that nobody resolved for this long is forgotten. */
const DEFAULT_REFERENCE_LIFETIME_MS: number = 30 * 24 * 3_600_000;
const MAX_BARRED = 100_000;
const WRITE_BEHIND_MS = 100;
/** What the shelf did not do is tried again after this: a bar soon, as the next leader would not know of it. */
const BAR_AGAIN_MS = 200;
const DEFAULT_AGAIN_MS = 2_000;
const BARRED_PREFIX = 'barred!';
const REFERENCE_PREFIX = 'reference3!';
/** Without scopes, and then without who said so: it is not known to whom these may be told, and on whose word. */
const OLD_REFERENCE_PREFIXES = ['reference!', 'reference2!'];

export interface StateOptions {
  /** @default 50000 */
  maxReferences?: number;
  /** @default 30 days */
  referenceLifetimeMs?: number;
  /** Whether references are read behind: there may be many, and nobody waits for them. @default false */
  referencesLater?: boolean;
  /** When references that were not read, or not written, are tried again. @default 2000 */
  againMs?: number;
}

export interface StateDependencies {
  /** Closed with the state. */
  shelf: Shelf;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

interface Barred {
  reason: string;
  atMs: number;
}

/** With the PeerId of the member that said so. */
type SaidReference = ReferenceRecord & { by: string };
const saidReferenceSchema = referenceRecordSchema.extend({ by: z.string() });

/** Undefined: delete. */
type Writes = Map<string, SaidReference | undefined>;

export class State {
  readonly #dependencies: StateDependencies;
  readonly #lifetimeMs: number;
  readonly #againMs: number;
  readonly #maxPending: number;
  readonly #references: LRUCache<string, SaidReference>;
  /** In the order they were barred. */
  readonly #barred = new Map<string, Barred>();
  #pending: Writes = new Map();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #loading: Promise<void> = Promise.resolve();
  #isLoading = true;
  /** Members whose word is not taken from the shelf any more. */
  readonly #disbelieved = new Set<string>();
  readonly #closing = new AbortController();

  private constructor(options: StateOptions, dependencies: StateDependencies) {
    this.#dependencies = dependencies;
    this.#lifetimeMs = options.referenceLifetimeMs ?? DEFAULT_REFERENCE_LIFETIME_MS;
    this.#againMs = options.againMs ?? DEFAULT_AGAIN_MS;
    const maxReferences = options.maxReferences ?? DEFAULT_MAX_REFERENCES;
    this.#maxPending = 2 * maxReferences;
    this.#references = new LRUCache({
      max: maxReferences,
      dispose: (_record, key, reason) => {
        if (reason === 'evict' || reason === 'delete') this.#write(key, undefined);
      },
    });
  }

  /** @throws whatever reading the shelf does; the shelf is then left open */
  static async open(options: StateOptions, dependencies: StateDependencies): Promise<State> {
    const state = new State(options, dependencies);
    await state.#loadBarred();
    if (options.referencesLater === true) state.#loading = state.#loadReferencesBehind();
    else await state.#loadReferences();
    return state;
  }

  get referenceCount(): number {
    return this.#references.size;
  }

  get barredCount(): number {
    return this.#barred.size;
  }

  isBarred(peerId: string): boolean {
    return this.#barred.has(peerId);
  }

  /** The newest first. */
  recentlyBarred(most: number): string[] {
    return [...this.#barred.keys()].slice(-most).reverse();
  }

  /**
   * It counts at once, and is on disk when this resolves, however often that has to be tried.
   * @throws RangeError when too many are barred; NotLeadingError when this state ends before it is written
   */
  async bar(peerId: string, reason: string): Promise<void> {
    if (this.#barred.size >= MAX_BARRED) throw new RangeError(`more than ${MAX_BARRED} barred members`);
    const barred = { reason, atMs: this.#dependencies.clock() };
    this.#barred.delete(peerId);
    this.#barred.set(peerId, barred);
    await this.#keepBar(peerId, barred);
  }

  /** As `by` said. The newer resolution wins; a time in the future counts as now. */
  recordReference(record: ReferenceRecord, by: string): void {
    const key = keyOf(record);
    const resolvedAtMs = Math.min(record.resolvedAtMs, this.#dependencies.clock());
    const known = this.#references.get(key);
    if (known !== undefined && known.resolvedAtMs >= resolvedAtMs) return;
    const value = { ...record, resolvedAtMs, by };
    this.#references.set(key, value);
    this.#write(key, value);
  }

  /** What is remembered, the latest used first. */
  references(): Iterable<ReferenceRecord> {
    return this.#references.values();
  }

  findReference(query: ReferenceQuery): ReferenceRecord | undefined {
    const key = keyOf(query);
    const said = this.#references.get(key);
    if (said === undefined) return undefined;
    const { by: _, ...record } = said;
    if (!this.#isTooOld(record)) return record;
    this.#references.delete(key);
    return undefined;
  }

  /** Forgets all that the member said. */
  forgetReferencesBy(peerId: string): void {
    if (this.#isLoading) this.#disbelieved.add(peerId);
    for (const [key, { by }] of [...this.#references]) if (by === peerId) this.#references.delete(key);
  }

  /** Writes what is pending; a failure is logged. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#flush();
    await this.#writing;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loading;
    await this.flush();
    await this.#dependencies.shelf.close();
  }

  async #loadBarred(): Promise<void> {
    const barred: [string, Barred][] = [];
    for await (const [key, value] of this.#dependencies.shelf.entries(BARRED_PREFIX)) {
      barred.push([key.slice(BARRED_PREFIX.length), value as Barred]);
    }
    barred.sort(([, one], [, other]) => one.atMs - other.atMs);
    for (const [peerId, each] of barred) this.#barred.set(peerId, each);
  }

  async #keepBar(peerId: string, barred: Barred): Promise<void> {
    const { shelf, logger } = this.#dependencies;
    const { signal } = this.#closing;
    let isTold = false;
    for (;;) {
      try {
        return await shelf.put(BARRED_PREFIX + peerId, barred);
      } catch (error) {
        if (error instanceof NotLeadingError) throw error;
        if (!isTold) logger.error({ err: error, peerId }, 'a bar was not written; it is tried again until it is');
        isTold = true;
      }
      await sleep(BAR_AGAIN_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw new NotLeadingError();
    }
  }

  async #loadReferencesBehind(): Promise<void> {
    const { logger } = this.#dependencies;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        return await this.#loadReferences();
      } catch (error) {
        logger.warn({ err: error }, 'references were not read; they are read again');
      }
      await sleep(this.#againMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #loadReferences(): Promise<void> {
    const { shelf } = this.#dependencies;
    const records: [string, SaidReference][] = [];
    for await (const [key, value] of shelf.entries(REFERENCE_PREFIX)) {
      if (this.#closing.signal.aborted) return;
      const record = saidReferenceSchema.safeParse(value);
      if (record.success) records.push([key, record.data]);
    }
    for (const prefix of OLD_REFERENCE_PREFIXES) {
      for await (const [key] of shelf.entries(prefix)) this.#write(key, undefined);
    }
    records.sort(([, one], [, other]) => one.resolvedAtMs - other.resolvedAtMs);
    for (const [key, record] of records) {
      // Somebody has said what it is since.
      if (this.#references.has(key)) continue;
      const isBelieved = !this.#disbelieved.has(record.by) && !this.#barred.has(record.by);
      if (isBelieved && !this.#isTooOld(record)) this.#references.set(key, record);
      else this.#write(key, undefined);
    }
    this.#isLoading = false;
    this.#disbelieved.clear();
  }

  #isTooOld(record: ReferenceRecord): boolean {
    return this.#dependencies.clock() - record.resolvedAtMs > this.#lifetimeMs;
  }

  /** Many writes of one key within `WRITE_BEHIND_MS` become one; what is pending is bounded by the table's size. */
  #write(key: string, record: SaidReference | undefined): void {
    this.#pending.set(key, record);
    this.#flushIn(WRITE_BEHIND_MS);
  }

  #flushIn(waitMs: number): void {
    this.#timer ??= setTimeout(() => this.#flush(), waitMs).unref();
  }

  #flush(): void {
    this.#timer = undefined;
    this.#writing = this.#writing.then(async () => {
      const pending = this.#pending;
      this.#pending = new Map();
      if (pending.size === 0) return;
      const { shelf, logger } = this.#dependencies;
      try {
        await shelf.write(pending);
      } catch (error) {
        if (error instanceof NotLeadingError) return;
        logger.error({ err: error, count: pending.size }, 'references were not written');
        this.#takeBack(pending);
      }
    });
  }

  /** What was not written, unless it is another by now. */
  #takeBack(failed: Writes): void {
    for (const [key, record] of failed) {
      if (this.#pending.size >= this.#maxPending) break;
      if (!this.#pending.has(key)) this.#pending.set(key, record);
    }
    if (!this.#closing.signal.aborted) this.#flushIn(this.#againMs);
  }
}

/** JSON keeps the parts apart whatever they hold. */
function keyOf({ registry, repository, reference, scope }: ReferenceQuery): string {
  return `${REFERENCE_PREFIX}${JSON.stringify([registry, repository, reference, scope])}`;
}
