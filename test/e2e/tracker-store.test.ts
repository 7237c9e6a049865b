/** What a tracker does with a real Redis that refuses it, or a command of it. */
import { createLogger } from '@shoal/cli';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RedisLink } from '../../packages/tracker/src/replica/redis-link.ts';
import { RedisServer } from '../support/daemon/redis-server.ts';
import { describeSuite } from './suite.ts';

const password = 'correct-horse-battery';

describeSuite('redis', 'a Redis that trackers share', () => {
  let resources: AsyncDisposableStack;
  let redis: RedisServer;
  let lines: string[];
  const logger = createLogger({ level: 'info', format: 'json' }, { write: (line: string) => lines.push(line) > 0 });

  beforeEach(async () => {
    lines = [];
    resources = new AsyncDisposableStack();
    redis = resources.use(await RedisServer.start({ password }));
  });
  afterEach(() => resources.disposeAsync());

  async function open(): Promise<RedisLink> {
    const link = await RedisLink.open(redis.url, { logger });
    resources.defer(() => link.close());
    return link;
  }

  test('a password that it refuses is in no log and no error', async () => {
    const wrong = 'wrong-horse-battery';
    const refused = await RedisLink.open(redis.url.replace(password, wrong), { logger }).catch(
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ code: 'STORE_UNREACHABLE', cause: expect.any(Error) });
    logger.error({ err: refused }, 'as whoever starts it tells it');
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(lines.join('')).toContain('WRONGPASS');
    expect(lines.join('')).not.toContain(wrong);
    expect(Object.keys((refused as Error).cause as object)).not.toContain('command');
  });

  test('a command that fails says why, not what it was to write', async () => {
    const link = await open();
    await link.run("return redis.call('SET', KEYS[1], ARGV[1])", ['text'], ['x']);
    const written = link.run("return redis.call('HSET', KEYS[1], 'f', ARGV[1])", ['text'], ['content of a batch']);
    const read = Array.fromAsync(link.fields('text', ''));
    for (const failing of [written, read]) {
      logger.warn({ err: await failing.catch((error: unknown) => error) }, 'a command failed');
    }
    expect(lines.filter((line) => line.includes('WRONGTYPE'))).toHaveLength(2);
    expect(lines.join('')).not.toMatch(/content of a batch|"command"|"args"/);
  });
});
