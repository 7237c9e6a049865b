/** What a tracker does with a real Redis that refuses it, that it has much to write to, or that does not take what it writes. */
import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@shoal/cli';
import { openIdentity } from '@shoal/tracker';
import { Agent, request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Passing } from '../../packages/tracker/src/replica/passing.ts';
import { RedisLink } from '../../packages/tracker/src/replica/redis-link.ts';
import { RedisShelf } from '../../packages/tracker/src/replica/redis-shelf.ts';
import { ReplicaSeat } from '../../packages/tracker/src/replica/replica-seat.ts';
import type { Rooms } from '../../packages/tracker/src/rooms.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { RedisServer } from '../support/daemon/redis-server.ts';
import { presentMain, runShoal, startBuild } from '../support/run-shoal.ts';
import { describeSuite } from './suite.ts';

const password = 'correct-horse-battery';
const lockKey = 'shoal:{test}:leader';

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

  test('over TLS: who does not trust its certificate is told what to do, and who does leads', async () => {
    await using folder = await DaemonFolder.create('tls-store');
    const secure = resources.use(await RedisServer.start({ password, tls: true }));
    const store = await folder.write('store', secure.url);
    await mkdir(folder.join('identity'));
    await openIdentity(folder.join('identity'), logger);
    const own = ['--data', folder.join('data'), '--identity', folder.join('identity')];
    const args = ['tracker', '--listen', '127.0.0.1:0', ...own, '--store', `@${store}`];
    const refused = await runShoal(...args);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/certificate.*NODE_EXTRA_CA_CERTS/) });
    expect(refused.stderr).not.toContain(password);
    const env = { NODE_EXTRA_CA_CERTS: secure.certificateFile };
    const { process: tracker, ready } = await startBuild(presentMain, args, { env });
    resources.use(tracker);
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
    resources.defer(() => dispatcher.close());
    const isReady = async (): Promise<number> => {
      const { statusCode, body } = await request(new URL('/readyz', ready.url), { dispatcher });
      await body.dump();
      return statusCode;
    };
    await expect.poll(isReady, { timeout: 10_000 }).toBe(200);
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

  test('however much is written at once arrives, and whatever is large is removed again', async () => {
    const link = await open();
    await link.run("return redis.call('SET', KEYS[1], ARGV[1])", [lockKey], ['fence']);
    const shelf = new RedisShelf({ key: 'shoal:{test}:work', lockKey, fence: 'fence' }, { redis: link });
    const many = new Map(Array.from({ length: 150_000 }, (_, index) => [`key-${index}`, index]));
    await shelf.write(many);
    const large = ['x', 'y', 'z'].map((letter) => [letter, letter.repeat(2 * 1024 * 1024)] as const);
    await shelf.write(new Map(large));
    let read = 0;
    for await (const [key, value] of shelf.entries('key-')) {
      expect(value).toBe(many.get(key));
      read++;
    }
    expect(read).toBe(many.size);
    expect(new Map(await Array.fromAsync(shelf.entries('y')))).toEqual(new Map([large[1]!]));
    await shelf.write(new Map([...many.keys(), 'x', 'y', 'z'].map((key) => [key, undefined])));
    expect(await Array.fromAsync(shelf.entries(''))).toEqual([]);
  });

  test('a leader whose changes are not taken refuses the call in time, and goes on with the next one', async () => {
    const link = await open();
    const passing = new Passing('');
    resources.defer(() => passing.close());
    let takes = false;
    const rooms = {
      commit: async () => {
        if (!takes) throw new RangeError('not taken');
      },
      flush: async () => undefined,
      close: async () => undefined,
    } as unknown as Rooms;
    const seat = new ReplicaSeat(
      { lockKey },
      {
        ...{ redis: link, passing, logger, monotonic: () => performance.now(), openRooms: async () => rooms },
        onChange: () => undefined,
        onPassed: () => undefined,
      },
    );
    await seat.start('https://one.test:1');
    resources.defer(() => seat.resign());
    const call = { path: '/v1/try', body: {}, authorization: undefined, isPassed: false };
    const refused = seat.serve(call, () => 'answer').catch((error: unknown) => error);
    expect(await Promise.race([refused, sleep(4_000, 'nothing')])).toMatchObject({ status: 503 });
    takes = true;
    expect(await seat.serve(call, () => 'answer')).toBe('answer');
  });
});
