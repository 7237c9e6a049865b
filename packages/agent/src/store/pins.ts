/**
 * Pins: names under which somebody wants blobs kept. A blob is pinned while any pin names it, so two images may share a
 * layer, and it counts once. A pin names blobs that are not here, too: they are kept as soon as they come.
 *
 * All pins together name at most a share of the quota, for a cache that can let nothing go is none. With a quota that was made
 * smaller since, those count that were pinned first.
 *
 * They lie in a file of their own beside the index: the index is made anew from the blobs when it is damaged, and pins
 * cannot be told from blobs.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type BlobId, parseBlobId } from '@shoal/oci';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type BlobStore, type Pin, StoreError } from './blob-store.ts';
import { hasCode, storeErrorFrom } from './failure.ts';
import { FILE_MODE, syncFolder } from './layout.ts';
import type { Ledger } from './ledger.ts';
import { Turns } from './turns.ts';

/** Of what eviction leaves, the share that pins may take: others need room for a large image. */
const MAX_PINNED_SHARE = 0.75;
const MAX_PINS = 1_000;
const MAX_PINNED_BLOBS = 50_000;

const fileSchema = z.array(z.object({ name: z.string(), blobs: z.array(z.tuple([z.string(), z.number()])) }));

export interface PinsOptions {
  /** The file. */
  path: string;
  limitBytes: number;
}

export interface PinsDependencies {
  ledger: Ledger;
  logger: Logger;
}

export class Pins implements PinsOfStore {
  limitBytes: number;
  readonly #path: string;
  readonly #dependencies: PinsDependencies;
  readonly #turns = new Turns();
  /** In the order in which they were made. */
  #pins: readonly Pin[] = [];
  #pinned: ReadonlyMap<BlobId, number> = new Map();

  private constructor({ path, limitBytes }: PinsOptions, dependencies: PinsDependencies) {
    this.limitBytes = limitBytes;
    this.#path = path;
    this.#dependencies = dependencies;
  }

  /** A file that makes no sense is as good as none. @throws StoreError unwritable, io */
  static async load(options: PinsOptions, dependencies: PinsDependencies): Promise<Pins> {
    const pins = new Pins(options, dependencies);
    const { logger } = dependencies;
    const text = await readFile(options.path, 'utf8').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw storeErrorFrom(error, `cannot read ${options.path}`);
    });
    const found = text === undefined ? [] : parsePins(text);
    if (found === undefined) logger.warn({ file: options.path }, 'the file of pins is damaged: nothing is pinned');
    pins.#count(found ?? []);
    return pins;
  }

  /** With another quota others may count. */
  resize(limitBytes: number): Promise<void> {
    return this.#turns.run('', async () => {
      this.limitBytes = limitBytes;
      this.#count(this.#pins);
    });
  }

  has(id: BlobId): boolean {
    return this.#pinned.has(id);
  }

  heldBytes(): number {
    let bytes = 0;
    for (const id of this.#pinned.keys()) bytes += this.#dependencies.ledger.blob(id)?.sizeBytes ?? 0;
    return bytes;
  }

  list(): readonly Pin[] {
    return this.#pins;
  }

  async put(pin: Pin): Promise<void> {
    await this.#change(() => {
      const others = this.#pins.filter(({ name }) => name !== pin.name);
      const pins = [...others, pin];
      const pinned = new Map(pins.flatMap(({ blobs }) => [...blobs]));
      if (pins.length > MAX_PINS || pinned.size > MAX_PINNED_BLOBS) {
        throw new StoreError('too-many-pins', `no more than ${MAX_PINS} pins of ${MAX_PINNED_BLOBS} blobs are kept`);
      }
      const bytes = bytesOf(pinned);
      if (bytes > this.limitBytes) {
        throw new StoreError(
          'too-many-pins',
          `with ${pin.name}, ${mebibytes(bytes)} would be pinned, and ${mebibytes(this.limitBytes)} may be`,
        );
      }
      return pins;
    });
  }

  async delete(name: string): Promise<boolean> {
    let isThere = false;
    await this.#change(() => {
      isThere = this.#pins.some((pin) => pin.name === name);
      return isThere ? this.#pins.filter((pin) => pin.name !== name) : undefined;
    });
    return isThere;
  }

  async forget(ids: Iterable<BlobId>): Promise<void> {
    const gone = new Set(ids);
    await this.#change(() => {
      if (!this.#pins.some(({ blobs }) => [...gone].some((id) => blobs.has(id)))) return undefined;
      return this.#pins
        .map(({ name, blobs }) => ({ name, blobs: new Map([...blobs].filter(([id]) => !gone.has(id))) }))
        .filter(({ blobs }) => blobs.size > 0);
    });
  }

  /** @param next undefined: nothing changes */
  async #change(next: () => readonly Pin[] | undefined): Promise<void> {
    await this.#turns.run('', async () => {
      const pins = next();
      if (pins === undefined) return;
      await this.#write(pins);
      this.#take(pins);
    });
  }

  #count(pins: readonly Pin[]): void {
    const names = this.#take(pins).map(({ name }) => name);
    if (names.length === 0) return;
    const { limitBytes } = this;
    this.#dependencies.logger.warn(
      { pins: names, limitBytes },
      'the cache is too small for these pins: they do not count',
    );
  }

  /** Returns those that do not count. */
  #take(pins: readonly Pin[]): Pin[] {
    const pinned = new Map<BlobId, number>();
    const left: Pin[] = [];
    let bytes = 0;
    for (const pin of pins) {
      const added = new Map([...pin.blobs].filter(([id]) => !pinned.has(id)));
      const addedBytes = bytesOf(added);
      if (bytes + addedBytes > this.limitBytes) {
        left.push(pin);
        continue;
      }
      bytes += addedBytes;
      for (const [id, sizeBytes] of added) pinned.set(id, sizeBytes);
    }
    this.#pins = pins;
    this.#pinned = pinned;
    return left;
  }

  /** The file is the old one or the new one, whenever the power goes. */
  async #write(pins: readonly Pin[]): Promise<void> {
    const temporary = `${this.#path}.new`;
    const text = JSON.stringify(pins.map(({ name, blobs }) => ({ name, blobs: [...blobs] })));
    try {
      const file = await open(temporary, 'w', FILE_MODE);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
      await syncFolder(dirname(this.#path));
    } catch (error) {
      throw storeErrorFrom(error, 'cannot keep the pins');
    }
  }
}

/** What all pins together may take. */
export function pinnedLimitBytes({ quotaBytes, highWater }: { quotaBytes: number; highWater: number }): number {
  return Math.floor(quotaBytes * highWater * MAX_PINNED_SHARE);
}

type PinsOfStore = BlobStore['pins'];

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function bytesOf(blobs: ReadonlyMap<BlobId, number>): number {
  return blobs.values().reduce((sum, sizeBytes) => sum + sizeBytes, 0);
}

function parsePins(text: string): Pin[] | undefined {
  try {
    return fileSchema.parse(JSON.parse(text)).map(({ name, blobs }) => {
      const known = blobs.flatMap(([text, sizeBytes]) => {
        const id = parseBlobId(text);
        return id === undefined ? [] : [[id, sizeBytes] as const];
      });
      return { name, blobs: new Map(known) };
    });
  } catch {
    return undefined;
  }
}
