/** Who may connect when an agent has as many neighbours as it wants. */
import { randomBytes } from 'node:crypto';
import { CONTROL_PROTOCOL, encodeControlFrame } from '@shoal/wire';
import { afterEach, expect, test } from 'vitest';
import { connect, randomBlob, startAgent, type TestAgent, TestCluster, until } from './cluster.fixture.ts';
import { createNode } from './libp2p-node.ts';

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

const peersOf = ({ network }: TestAgent) => new Set(network.connected().map(({ peerId }) => peerId));
const idsOf = (...agents: TestAgent[]) => new Set(agents.map(({ identity }) => identity.peerId));
const trade = async (asker: TestAgent, holder: TestAgent) => {
  const blob = randomBlob(1_000);
  holder.holdAll(blob);
  await asker.network.fetchPiece(
    holder.identity.peerId,
    { blob: blob.id, sizeBytes: blob.sizeBytes, index: 0 },
    { patience: 0, deadlineMs: 2_000, signal: new AbortController().signal },
  );
};

/** An agent with two neighbours and room for no more, whose clock a test moves. */
async function full() {
  const time = { passedMs: 0 };
  const hub = await agent({ maxConnections: 2, clock: () => Date.now() + time.passedMs });
  const [first, second, newcomer] = [await agent(), await agent(), await agent()];
  await connect(first, hub);
  await connect(hub, second);
  return { hub, first, second, newcomer, time };
}

test('while all have traded lately, or are new, nobody else is let in', async () => {
  const { hub, first, second, newcomer, time } = await full();
  time.passedMs = 20_000;
  newcomer.network.dial([hub.record]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await trade(first, hub);
  await trade(hub, second);
  time.passedMs = 42_000;
  newcomer.network.dial([hub.record]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(peersOf(hub)).toEqual(idsOf(first, second));
  expect(peersOf(newcomer)).toEqual(new Set());
});

test('a newcomer takes the place of the one with which nothing was traded for 30 s', async () => {
  const { hub, first, second, newcomer, time } = await full();
  time.passedMs = 20_000;
  await trade(first, hub);
  time.passedMs = 31_000;
  await connect(newcomer, hub);
  await until(() => second.network.connected().length === 0);
  expect(peersOf(hub)).toEqual(idsOf(first, newcomer));
});

test('a peer that this agent needs takes such a place, too', async () => {
  const { hub, first, second, newcomer, time } = await full();
  time.passedMs = 20_000;
  await trade(hub, second);
  time.passedMs = 31_000;
  await connect(hub, newcomer);
  await until(() => first.network.connected().length === 0);
  expect(peersOf(hub)).toEqual(idsOf(second, newcomer));
});

test('a peer that takes the connection and ends it at once is not dialled over and over', async () => {
  const dialler = await agent();
  const node = await createNode({
    privateKeySeed: randomBytes(32),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    maxConnections: 10,
  });
  const peerId = node.peerId.toString();
  const certificate = await cluster.certify(peerId);
  let greetings = 0;
  await node.handle(CONTROL_PROTOCOL, (stream, connection) => {
    greetings++;
    stream.send(encodeControlFrame({ type: 'hello', certificate, zone: '' }));
    setTimeout(() => connection.abort(new Error('enough peers')), 20);
  });
  await node.start();
  try {
    const addresses = node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*/, ''));
    const endMs = performance.now() + 1_500;
    while (performance.now() < endMs) {
      dialler.network.dial([{ peerId, addresses, zone: '' }]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(greetings).toBeGreaterThan(0);
    expect(greetings).toBeLessThan(5);
  } finally {
    await node.stop();
  }
});
