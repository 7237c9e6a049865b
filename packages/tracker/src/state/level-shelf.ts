/** The embedded store: a folder in the data directory, which it takes for this process alone. */
import { join } from 'node:path';
import { Level } from 'level';
import { TrackerStartError } from '../start-error.ts';
import type { Shelf } from './shelf.ts';

export class LevelShelf implements Shelf {
  readonly #level: Level<string, unknown>;
  readonly #path: string;

  private constructor(level: Level<string, unknown>, path: string) {
    this.#level = level;
    this.#path = path;
  }

  /** @throws TrackerStartError STATE_LOCKED, STATE_DAMAGED */
  static async open(dataDir: string): Promise<LevelShelf> {
    const path = join(dataDir, 'state');
    const level = new Level<string, unknown>(path, { valueEncoding: 'json' });
    try {
      await level.open();
      return new LevelShelf(level, path);
    } catch (error) {
      await level.close().catch(() => undefined);
      throw startError(path, error);
    }
  }

  /** @throws TrackerStartError STATE_DAMAGED */
  async *entries(prefix: string): AsyncGenerator<[string, unknown]> {
    try {
      yield* this.#level.iterator({ gte: prefix, lt: `${prefix}\uffff` });
    } catch (error) {
      throw startError(this.#path, error);
    }
  }

  async put(key: string, value: unknown): Promise<void> {
    await this.#level.put(key, value, { sync: true });
  }

  async write(values: ReadonlyMap<string, unknown>): Promise<void> {
    const batch = [...values].map(([key, value]) =>
      value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const),
    );
    await this.#level.batch(batch);
  }

  async close(): Promise<void> {
    await this.#level.close();
  }
}

function startError(path: string, error: unknown): TrackerStartError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED') {
    return new TrackerStartError('STATE_LOCKED', `${path} is in use: another tracker runs on this data directory.`, {
      cause,
    });
  }
  const what = cause instanceof Error ? cause.message : String(cause);
  return new TrackerStartError(
    'STATE_DAMAGED',
    `${path} cannot be opened (${what}). Restore it from a backup, or remove that directory: agents announce ` +
      'themselves again; barred members and remembered references are lost.',
    { cause },
  );
}
