import type { PrefetchProgress, PrefetchTask } from '@shoal/wire';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import { PullError } from '../pull/pull-error.ts';
import { CallError } from '../tracker-client/call-error.ts';
import type { TrackerOrders } from '../tracker-client/order-calls.ts';
import { unlessAborted } from '../unless-aborted.ts';
import { Prefetch, type PrefetchOptions } from './prefetch.ts';
import { MemoryRegistry } from './registry.fixture.ts';

const IMAGE = 'r.test/org/app:v1';

let registry: MemoryRegistry;
let tasks: PrefetchTask[];
let told: PrefetchProgress[];
let isWanted: boolean;
let refusal: CallError | undefined;
let prefetch: Prefetch;

const orders: TrackerOrders = {
  place: async () => {
    throw refusal ?? new Error('not expected');
  },
  find: async () => {
    throw new CallError('NOT_FOUND', 'no such order');
  },
  list: async () => [],
  cancel: async () => {
    throw new CallError('NOT_FOUND', 'no such order');
  },
  tasks: async () => tasks,
  progress: async (progress) => {
    told.push(progress);
    return { wanted: isWanted };
  },
};

function start(more: Partial<PrefetchOptions> = {}): Prefetch {
  const ownPlatform = { os: 'linux', architecture: 'amd64', variant: '' };
  prefetch = new Prefetch(
    { name: 'node-1', zone: 'a', takesOrders: true, ownPlatform, hasTracker: true, ...more },
    { ...registry.dependencies, orders, clusterSize: () => 1, logger: pino({ level: 'silent' }), clock: Date.now },
  );
  return prefetch;
}

/** A blob that nobody serves. */
const hang = (_: unknown, signal: AbortSignal): Promise<void> => unlessAborted(new Promise(() => {}), signal);

/** The node's state, once the order has ended. */
async function ended(id: string) {
  await expect.poll(async () => (await prefetch.find(id)).state, { timeout: 5_000 }).not.toBe('open');
  return (await prefetch.find(id)).nodes[0];
}

beforeEach(() => {
  registry = new MemoryRegistry();
  registry.root = registry.index([
    registry.image(registry.blob('layer one'), registry.blob('layer two')),
    'linux/amd64',
  ]);
  [tasks, told, isWanted, refusal] = [[], [], true, undefined];
});
afterEach(() => prefetch.close());

describe('for this node alone', () => {
  test('everything is asked for as the node, in the background, and not read', async () => {
    const { id } = await start().place({ images: [IMAGE], bytesPerSecond: 2 ** 30 });
    expect(await ended(id)).toMatchObject({ name: 'node-1', state: 'done' });
    const { doneBytes, totalBytes, fromPeers } = (await prefetch.find(id)).nodes[0]!;
    const sizes = [...registry.contents.values()].reduce((sum, { length }) => sum + length, 0);
    expect([doneBytes, totalBytes, fromPeers]).toEqual([sizes, sizes, sizes]);
    expect(registry.opened).toHaveLength(5);
    for (const { source } of registry.opened) expect(source).toMatchObject({ asker: 'node', background: { lane: {} } });
    // The two manifests have to be read.
    expect(registry.read).toHaveLength(2);
  });

  test('a blob that does not come by itself is read as by a client; after a few tries the image has failed', async () => {
    let failures = 1;
    registry.onWait = async (digest) => {
      const isLayer = registry.contents.get(digest)?.toString() === 'layer one';
      if (isLayer && failures-- > 0) throw new PullError('no-source', 'nobody served it');
    };
    const first = await start().place({ images: [IMAGE] });
    expect(await ended(first.id)).toMatchObject({ state: 'done' });
    expect(registry.read).toHaveLength(3);
    failures = 9;
    const second = await prefetch.place({ images: [IMAGE] });
    expect(await ended(second.id)).toMatchObject({ state: 'failed', reason: `${IMAGE}: nobody served it` });
    expect(failures).toBe(6);
  });

  test('a no of the registry is one at once, in words for people', async () => {
    registry.onWait = async () => {
      throw new OriginError('unauthorized', 'r.test answered 401');
    };
    const { id } = await start().place({ images: [IMAGE] });
    expect((await ended(id))?.reason).toContain(
      "does not show it to this node's own credentials (r.test answered 401)",
    );
    expect(registry.opened).toHaveLength(1);
  });

  test('registries that the node may not ask, and what its cache cannot hold, are refused', async () => {
    const elsewhere = await start().place({ images: ['elsewhere.test/org/app:v1'] });
    expect((await ended(elsewhere.id))?.reason).toContain('--allow-registry');
    expect(registry.opened).toEqual([]);
    registry.root = registry.image({ ...registry.blob('large'), size: 1_000_001 });
    const large = await prefetch.place({ images: [IMAGE] });
    expect((await ended(large.id))?.reason).toContain("larger than this node's cache");
  });

  test('a cancelled one ends at once and leaves nothing under way', async () => {
    registry.onWait = hang;
    const { id } = await start().place({ images: [IMAGE] });
    expect(await prefetch.cancel(id)).toMatchObject({
      state: 'cancelled',
      nodes: [{ state: 'failed', reason: 'cancelled' }],
    });
    expect(await prefetch.list()).toMatchObject([{ id, state: 'cancelled', failed: 1 }]);
  });

  test('too many at once are refused; those that ended do not count', async () => {
    registry.onWait = hang;
    const first = await start().place({ images: [IMAGE] });
    for (let count = 1; count < 16; count++) await prefetch.place({ images: [IMAGE] });
    await expect(prefetch.place({ images: [IMAGE] })).rejects.toMatchObject({ code: 'busy' });
    await prefetch.cancel(first.id);
    await prefetch.place({ images: [IMAGE] });
  });

  test('what is no image or platform is told before anything begins', async () => {
    start();
    await expect(prefetch.place({ images: ['A'] })).rejects.toMatchObject({ code: 'bad-order' });
    await expect(prefetch.place({ images: [IMAGE], platform: 'vax' })).rejects.toMatchObject({ code: 'bad-order' });
  });
});

describe('for others', () => {
  test('a node without a tracker knows none', async () => {
    start({ hasTracker: false });
    await expect(prefetch.place({ images: [IMAGE], everywhere: true })).rejects.toThrow('this agent has no tracker');
    await expect(prefetch.find('x')).rejects.toMatchObject({ code: 'unknown' });
  });

  test('what the tracker says no to is passed on', async () => {
    start();
    refusal = new CallError('TOO_MANY_REQUESTS', 'too many orders are under way');
    await expect(prefetch.place({ images: [IMAGE], zone: 'a' })).rejects.toThrow('the tracker: too many orders');
    refusal = new CallError('NOT_FOUND', 'there is no such call');
    await expect(prefetch.place({ images: [IMAGE], zone: 'a' })).rejects.toThrow('a version that takes no orders');
    await expect(prefetch.find('x')).rejects.toMatchObject({ code: 'unknown' });
  });
});

describe('on order of the tracker', () => {
  test('a task is done once, and the tracker is told of its end', async () => {
    tasks = [{ id: 'a', images: [IMAGE] }];
    start().heard();
    prefetch.heard();
    await expect.poll(() => told.at(-1)?.state, { timeout: 5_000 }).toBe('done');
    expect(told.map(({ id }) => id)).toEqual(Array(told.length).fill('a'));
    expect(registry.opened).toHaveLength(5);
  });

  test('one that is not wanted any more is let go', async () => {
    registry.onWait = hang;
    tasks = [{ id: 'a', images: [IMAGE] }];
    isWanted = false;
    start().heard();
    await expect.poll(() => told.at(-1)).toMatchObject({ state: 'failed', reason: 'the order was cancelled' });
  });

  test('what makes no sense is told back', async () => {
    tasks = [{ id: 'a', images: ['A'] }];
    start().heard();
    await expect
      .poll(() => told)
      .toMatchObject([{ id: 'a', state: 'failed', reason: '"A" is not an image reference' }]);
  });

  test('only a few run at once; the rest waits at the tracker', async () => {
    registry.onWait = hang;
    tasks = Array.from({ length: 9 }, (_, at) => ({ id: `task-${at}`, images: [IMAGE] }));
    start().heard();
    await expect.poll(() => new Set(told.map(({ id }) => id)).size).toBe(4);
  });

  test('a node that takes no orders does not even ask', async () => {
    tasks = [{ id: 'a', images: [IMAGE] }];
    start({ takesOrders: false }).heard();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([told, registry.opened]).toEqual([[], []]);
  });
});
