/** A hash in the shared store. It is written only while its writer leads: what a former leader still writes changes nothing. */
import type { Shelf } from '../state/shelf.ts';
import type { RedisLink } from './redis-link.ts';

/** An empty value deletes its field: no JSON is empty. */
const WRITE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for index = 2, #ARGV, 2 do
  if ARGV[index + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[index])
  else redis.call('HSET', KEYS[2], ARGV[index], ARGV[index + 1]) end
end
return 1`;

/** A larger write would keep the server, and whoever else asks it, for long, or not be done in time. */
const MAX_PART_FIELDS = 1_000;
const MAX_PART_CHARACTERS = 1024 * 1024;

/** Somebody else leads by now. */
export class NotLeadingError extends Error {
  constructor() {
    super('this tracker does not lead any more');
    this.name = 'NotLeadingError';
  }
}

export interface RedisShelfOptions {
  key: string;
  lockKey: string;
  /** The lock's value while this shelf may be written. */
  fence: string;
}

export class RedisShelf implements Shelf {
  readonly #options: RedisShelfOptions;
  readonly #redis: Pick<RedisLink, 'run' | 'fields'>;

  constructor(options: RedisShelfOptions, dependencies: { redis: Pick<RedisLink, 'run' | 'fields'> }) {
    this.#options = options;
    this.#redis = dependencies.redis;
  }

  /** What is not JSON is left out. */
  async *entries(prefix: string): AsyncGenerator<[string, unknown]> {
    for await (const [field, text] of this.#redis.fields(this.#options.key, prefix)) {
      try {
        yield [field, JSON.parse(text)];
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
    }
  }

  async put(key: string, value: unknown): Promise<void> {
    await this.write(new Map([[key, value]]));
  }

  /** @throws NotLeadingError, or Error when the store does not answer; of many values some are then written */
  async write(values: ReadonlyMap<string, unknown>): Promise<void> {
    let part: string[] = [];
    let characters = 0;
    for (const [field, value] of values) {
      const text = value === undefined ? '' : JSON.stringify(value);
      const isFull = part.length >= 2 * MAX_PART_FIELDS || characters + text.length > MAX_PART_CHARACTERS;
      if (part.length > 0 && isFull) {
        await this.#write(part);
        [part, characters] = [[], 0];
      }
      part.push(field, text);
      characters += field.length + text.length;
    }
    if (part.length > 0) await this.#write(part);
  }

  async close(): Promise<void> {}

  async #write(flat: readonly string[]): Promise<void> {
    const { key, lockKey, fence } = this.#options;
    const done = await this.#redis.run(WRITE, [lockKey, key], [fence, ...flat]);
    if (done !== 1) throw new NotLeadingError();
  }
}
