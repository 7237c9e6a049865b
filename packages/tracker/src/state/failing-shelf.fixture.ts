/** The real store in a folder of its own, which can be away for a while. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LevelShelf } from './level-shelf.ts';
import type { Shelf } from './shelf.ts';

export class FailingShelf implements Shelf {
  /** What calls fail with. */
  failure: Error | undefined;
  /** Only of keys that begin so. */
  failing = '';
  failed = 0;
  readonly #shelf: LevelShelf;
  readonly #folder: string;

  private constructor(shelf: LevelShelf, folder: string) {
    this.#shelf = shelf;
    this.#folder = folder;
  }

  static async open(): Promise<FailingShelf> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-shelf-'));
    return new FailingShelf(await LevelShelf.open(folder), folder);
  }

  async *entries(prefix: string): AsyncGenerator<[string, unknown]> {
    this.#fail(prefix);
    yield* this.#shelf.entries(prefix);
  }

  async put(key: string, value: unknown): Promise<void> {
    this.#fail(key);
    await this.#shelf.put(key, value);
  }

  async write(values: ReadonlyMap<string, unknown>): Promise<void> {
    for (const key of values.keys()) this.#fail(key);
    await this.#shelf.write(values);
  }

  /** Of what is there, those that begin so. */
  async keys(prefix: string): Promise<string[]> {
    return (await Array.fromAsync(this.#shelf.entries(prefix))).map(([key]) => key);
  }

  /** A state that ends leaves it to the next one. */
  async close(): Promise<void> {}

  async remove(): Promise<void> {
    await this.#shelf.close();
    await rm(this.#folder, { recursive: true });
  }

  #fail(key: string): void {
    if (this.failure === undefined || !key.startsWith(this.failing)) return;
    this.failed++;
    throw this.failure;
  }
}
