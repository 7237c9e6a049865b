/** Makes room before anything is written: under the quota, and above the floor of free disk. One request at a time. */
import type { BlobId } from '@shoal/oci';
import { type BlobStore, type RemovalReason, type Shedding, StoreError } from './blob-store.ts';
import { chooseVictims, needFor } from './eviction.ts';
import { storeErrorFrom } from './failure.ts';
import type { Evictable, Ledger } from './ledger.ts';
import { Turns } from './turns.ts';

export interface SpaceOptions {
  quotaBytes: number;
  highWater: number;
  lowWater: number;
  minFreeDiskBytes: number;
}

export interface SpaceDependencies {
  ledger: Ledger;
  pins: Pick<BlobStore['pins'], 'has' | 'heldBytes'>;
  diskFree: () => Promise<number>;
  /** Takes it out of the ledger at once, and off the disk before it resolves. */
  evict: (victim: Evictable, reason: RemovalReason) => Promise<void>;
}

export class Space {
  #options: SpaceOptions;
  readonly #dependencies: SpaceDependencies;
  readonly #turns = new Turns();

  constructor(options: SpaceOptions, dependencies: SpaceDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  resize(options: SpaceOptions): void {
    this.#options = options;
  }

  /**
   * Evicts until `addBytes` more fit, then calls `taken` before anyone else can take the room. `keep` is not evicted.
   * @throws StoreError over-quota, disk-full; nothing was evicted then
   */
  async reserve<T>(addBytes: number, taken: () => T, keep?: BlobId): Promise<T> {
    const { quotaBytes } = this.#options;
    if (addBytes > quotaBytes) {
      throw new StoreError('over-quota', `${addBytes} bytes do not fit in a quota of ${quotaBytes}`);
    }
    return this.#turns.run('', async () => {
      await this.#makeRoom(addBytes, keep);
      return taken();
    });
  }

  async #makeRoom(addBytes: number, keep: BlobId | undefined): Promise<void> {
    const { ledger, pins, evict } = this.#dependencies;
    const disk = await this.#disk();
    const pinnedBytes = pins.heldBytes();
    const need = needFor({ ...this.#options, usedBytes: ledger.bytes, addBytes, pinnedBytes, disk });
    const evictable = (): Iterable<Evictable> => ledger.evictable((id) => pins.has(id), keep);
    const victims = chooseVictims(evictable(), need);
    if (victims === undefined) {
      if (chooseVictims(evictable(), { ...need, diskBytes: 0 }) === undefined) {
        throw new StoreError('over-quota', `no room for ${addBytes} bytes: everything else is in use or pinned`);
      }
      throw new StoreError('disk-full', `no room for ${addBytes} bytes above the floor of free disk`);
    }
    const reason = need.quotaBytes > 0 ? 'quota' : 'disk';
    await Promise.all(victims.map((victim) => evict(victim, reason)));
  }

  /**
   * Evicts what may go until no more than `keepBytes` are kept; only what was not used since `unusedSinceMs`. Returns what
   * went, or would go when `isDryRun`.
   */
  async shed(shedding: Shedding, reason: RemovalReason): Promise<Evictable[]> {
    const { unusedSinceMs = Number.POSITIVE_INFINITY, keepBytes = 0, isDryRun = false } = shedding;
    const { ledger, pins, evict } = this.#dependencies;
    return this.#turns.run('', async () => {
      const victims: Evictable[] = [];
      let { bytes } = ledger;
      for (const victim of ledger.evictable((id) => pins.has(id))) {
        if (bytes <= keepBytes) break;
        if (victim.entry.usedAt >= unusedSinceMs) continue;
        victims.push(victim);
        bytes -= victim.bytes;
      }
      if (!isDryRun) await Promise.all(victims.map((victim) => evict(victim, reason)));
      return victims;
    });
  }

  async #disk(): Promise<{ freeBytes: number; floorBytes: number; unwrittenBytes: number } | undefined> {
    const { minFreeDiskBytes } = this.#options;
    if (minFreeDiskBytes <= 0) return undefined;
    try {
      const freeBytes = await this.#dependencies.diskFree();
      return { freeBytes, floorBytes: minFreeDiskBytes, unwrittenBytes: this.#dependencies.ledger.unwrittenBytes };
    } catch (error) {
      throw storeErrorFrom(error, 'cannot tell how much disk is free');
    }
  }
}
