/** What agents that want the same blob hear of each other, over real connections. */
import { pieceCountOf } from '@shoal/swarm';
import { afterEach, describe, expect, test } from 'vitest';
import {
  connect,
  RecordingListener,
  randomBlob,
  startAgent,
  type TestAgent,
  TestCluster,
  until,
} from './cluster.fixture.ts';

const cluster = new TestCluster();
const running: TestAgent[] = [];
const agent = async (options: Parameters<typeof startAgent>[1] = {}) => {
  const started = await startAgent(cluster, options);
  running.push(started);
  return started;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ network }) => network.stop()));
});

const connectedPair = async () => {
  const [one, two] = [await agent({ zone: 'zone-1' }), await agent({ zone: 'zone-2' })];
  await connect(one, two);
  return { one, two };
};
/** Long enough for anything said to have been heard. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 100));
const want = (wanting: TestAgent, blob: Pick<ReturnType<typeof randomBlob>, 'id'>) => {
  const listener = new RecordingListener();
  return { listener, want: wanting.network.want(blob.id, listener) };
};

describe('a member that wants the same blob', () => {
  test('is heard of once by both, whoever wants it first', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000);
    const first = want(one, blob);
    await settle();
    const second = want(two, blob);
    await until(() => first.listener.events.length > 0 && second.listener.events.length > 0);
    await settle();
    expect(first.listener.events).toEqual(['wants zone-2']);
    expect(second.listener.events).toEqual(['wants zone-1']);
    expect(first.listener.wanting).toEqual(new Set([two.identity.peerId]));
  });

  test('is heard of when it connects later', async () => {
    const [one, two] = [await agent({ zone: 'zone-1' }), await agent({ zone: 'zone-2' })];
    const blob = randomBlob(1_000);
    const [first, second] = [want(one, blob), want(two, blob)];
    await connect(one, two);
    await settle();
    expect(first.listener.events).toEqual(['wants zone-2']);
    expect(second.listener.events).toEqual(['wants zone-1']);
  });

  test('is heard of by every pull of this agent, also when the other one repeats itself', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000);
    want(two, blob);
    await settle();
    const [first, second] = [want(one, blob), want(one, blob)];
    await settle();
    want(two, blob);
    await settle();
    expect([first.listener.events, second.listener.events]).toEqual([['wants zone-2'], ['wants zone-2']]);
  });

  test('is told to nobody before the caller can take back its want', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000);
    want(two, blob);
    await settle();
    const { listener, want: closed } = want(one, blob);
    expect(listener.events).toEqual([]);
    closed.close();
    await settle();
    expect(listener.events).toEqual([]);
  });

  test('is gone when it wants it no more and holds nothing, and stays while it holds something', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000_000);
    const first = want(one, blob);
    const second = want(two, blob);
    await until(() => first.listener.events.length === 1);
    second.want.close();
    await until(() => first.listener.events.length === 2);
    expect(first.listener.events).toEqual(['wants zone-2', 'gone']);

    const again = want(two, blob);
    two.holdings.put(blob, 1, new Uint8Array(1));
    two.network.publish(blob.id, blob.sizeBytes, 1);
    await until(() => first.listener.maps.size === 1);
    again.want.close();
    await settle();
    expect(first.listener.events.slice(2)).toEqual(['wants zone-2', 'map zone-2 1000000 1/4']);
    two.network.withdraw(blob.id);
    await until(() => first.listener.events.at(-1) === 'gone');
  });

  test('is there again when it withdraws the blob and still wants it', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000_000);
    two.holdings.put(blob, 1, new Uint8Array(1));
    want(two, blob);
    await settle();
    const { listener } = want(one, blob);
    await until(() => listener.maps.size === 1);
    two.holdings.blobs.clear();
    two.network.withdraw(blob.id);
    await until(() => listener.events.length === 4);
    expect(listener.events).toEqual(['wants zone-2', 'map zone-2 1000000 1/4', 'gone', 'wants zone-2']);
  });

  test('is gone when it disconnects, whether it held anything or not', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000);
    const { listener } = want(one, blob);
    want(two, blob);
    await until(() => listener.wanting.size === 1);
    await two.network.stop();
    await until(() => listener.events.length === 2);
    expect(listener.events).toEqual(['wants zone-2', 'gone']);
  });
});

describe('new pieces', () => {
  test('are known to the neighbours at once, and those of 20 ms come together', async () => {
    const { one, two } = await connectedPair();
    const blob = { ...randomBlob(1), sizeBytes: 200 * 1024 * 1024 };
    two.holdings.put(blob, 0, new Uint8Array(1), blob.bytes);
    const { listener } = want(one, blob);
    await until(() => listener.maps.size === 1);
    const map = listener.maps.get(two.identity.peerId)!;
    const takenMs: number[] = [];
    for (let index = 1; index <= 20; index++) {
      const startMs = performance.now();
      two.network.publish(blob.id, blob.sizeBytes, index);
      await until(() => map.has(index));
      takenMs.push(performance.now() - startMs);
    }
    // At most 20 ms of gathering and one way on loopback; the bound leaves room for a busy machine.
    expect(takenMs.sort((a, b) => a - b)[10]).toBeLessThan(50);
    await settle();
    const framesBefore = listener.events.length;
    const count = pieceCountOf(blob.sizeBytes);
    for (let index = 21; index < count; index++) two.network.publish(blob.id, blob.sizeBytes, index);
    await until(() => map.complete);
    expect(listener.events.length - framesBefore).toBeLessThanOrEqual(3);
  });

  test('that were withdrawn before they were told are not told', async () => {
    const { one, two } = await connectedPair();
    const blob = randomBlob(1_000_000);
    two.holdings.put(blob, 0, new Uint8Array(1));
    const { listener } = want(one, blob);
    await until(() => listener.maps.size === 1);
    two.network.publish(blob.id, blob.sizeBytes, 1);
    two.network.publish(blob.id, blob.sizeBytes, 2);
    two.holdings.blobs.clear();
    two.network.withdraw(blob.id);
    await settle();
    expect(listener.events).toEqual(['map zone-2 1000000 1/4', 'haves 1', 'gone']);
  });
});
