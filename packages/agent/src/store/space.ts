/** Makes room before anything is written: under the quota, and above the floor of free disk. One request at a time. */
import type { BlobId } from '@shoal/oci';
import { StoreError } from './blob-store.ts';
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
  diskFree: () => Promise<number>;
  /** Takes it out of the ledger at once, and off the disk before it resolves. */
  evict: (victim: Evictable) => Promise<void>;
}

export class Space {
  readonly #options: SpaceOptions;
  readonly #dependencies: SpaceDependencies;
  readonly #turns = new Turns();

  constructor(options: SpaceOptions, dependencies: SpaceDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
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
    const { ledger, evict } = this.#dependencies;
    const disk = await this.#disk();
    const need = needFor({ ...this.#options, usedBytes: ledger.bytes, addBytes, disk });
    const victims = chooseVictims(ledger.evictable(keep), need);
    if (victims === undefined) {
      if (chooseVictims(ledger.evictable(keep), { ...need, diskBytes: 0 }) === undefined) {
        throw new StoreError('over-quota', `no room for ${addBytes} bytes: everything else is in use`);
      }
      throw new StoreError('disk-full', `no room for ${addBytes} bytes above the floor of free disk`);
    }
    await Promise.all(victims.map((victim) => evict(victim)));
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
