/** What somebody hears who reaches the port without being a member: nothing. */
import { randomBytes } from 'node:crypto';
import type { Connection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { CONTROL_PROTOCOL, encodeControlFrame, encodePieceRequest, PIECE_PROTOCOL } from '@shoal/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  connect,
  RecordingListener,
  randomBlob,
  startAgent,
  type TestAgent,
  TestCluster,
  until,
} from './cluster.fixture.ts';
import { identityOfSeed } from './identity.ts';
import { createNode, type Node } from './libp2p-node.ts';

const cluster = new TestCluster();
const blob = randomBlob(100_000);
let agent: TestAgent;
let stranger: Node;
const received: Uint8Array[] = [];

beforeEach(async () => {
  received.length = 0;
  agent = await startAgent(cluster);
  agent.holdAll(blob);
  stranger = await createNode({ privateKeySeed: randomBytes(32), listen: [], announce: [], maxConnections: 10 });
  await stranger.start();
});
afterEach(async () => {
  await Promise.all([agent.network.stop(), stranger.stop()]);
});

const reach = (): Promise<Connection> =>
  stranger.dial(multiaddr(`${agent.record.addresses[0]}/p2p/${agent.record.peerId}`));

/** Opens a stream, sends `bytes` and collects whatever comes back. */
async function say(connection: Connection, protocol: string, ...frames: Uint8Array[]): Promise<void> {
  const stream = await connection.newStream(protocol);
  stream.addEventListener('message', ({ data }) => received.push(data.subarray()));
  for (const frame of frames) stream.send(frame);
}

async function expectShownTheDoor(connection: Connection, withinMs = 2_000): Promise<void> {
  await until(() => connection.status !== 'open', withinMs);
  expect(received).toEqual([]);
  expect(agent.network.connected()).toEqual([]);
  expect([agent.holdings.reads, agent.holdings.lookups]).toEqual([0, 0]);
}

const want = () => encodeControlFrame({ type: 'want', blob: blob.id });
const hello = (certificate: string) => encodeControlFrame({ type: 'hello', certificate, zone: '' });
const own = () => stranger.peerId.toString();

test('a member with the same tools is answered', async () => {
  const connection = await reach();
  await say(connection, CONTROL_PROTOCOL, hello(await cluster.certify(own())), want());
  await until(() => received.length > 0 && agent.holdings.lookups > 0);
  expect(agent.network.connected()).toEqual([{ peerId: own(), zone: '' }]);
});

test.each([
  ['no HELLO before a WANT', async () => [want()]],
  ['a certificate of another cluster', async () => [hello(await new TestCluster().certify(own())), want()]],
  ['the certificate of another PeerId', async () => [hello(await cluster.certify(agent.record.peerId)), want()]],
  [
    'a certificate that ran out',
    async () => [hello(await cluster.certify(own(), { expiresAtMs: Date.now() - 360_000 })), want()],
  ],
  [
    'a session meant for the tracker',
    async () => [hello(await cluster.certify(own(), { audience: 'tracker' })), want()],
  ],
  ['a certificate without signature', async () => [hello(unsigned(own())), want()]],
  ['an empty certificate', async () => [hello(''), want()]],
  ['random bytes', async () => [randomBytes(1000)]],
])('%s ends the connection without a word', async (_what, frames) => {
  const connection = await reach();
  await say(connection, CONTROL_PROTOCOL, ...(await frames()));
  await expectShownTheDoor(connection);
});

test('a piece asked for without HELLO is not read', async () => {
  const connection = await reach();
  await say(connection, PIECE_PROTOCOL, encodePieceRequest({ blob: blob.id, index: 0, patience: 0 })).catch(() => {});
  await expectShownTheDoor(connection);
});

test('silence is ended after 5 s', async () => {
  const connection = await reach();
  await expectShownTheDoor(connection, 8_000);
}, 10_000);

test('a member that breaks the protocol later is disconnected', async () => {
  const connection = await reach();
  const map = encodeControlFrame({ type: 'map', blob: blob.id, sizeBytes: 1_000_000, bitmap: new Uint8Array(9) });
  await say(connection, CONTROL_PROTOCOL, hello(await cluster.certify(own())), map);
  await until(() => connection.status !== 'open');
});

test('a member that asks for two pieces ahead on one stream is disconnected', async () => {
  const connection = await reach();
  await say(connection, CONTROL_PROTOCOL, hello(await cluster.certify(own())));
  await until(() => received.length > 0);
  agent.holdings.gate = new Promise(() => {});
  const request = encodePieceRequest({ blob: blob.id, index: 0, patience: 0 });
  await say(connection, PIECE_PROTOCOL, request, request, request);
  await until(() => connection.status !== 'open');
});

describe('a member that', () => {
  const huge = { ...randomBlob(10), sizeBytes: 512 * 1024 ** 2 };
  const mapOf = () =>
    encodeControlFrame({ type: 'map', blob: huge.id, sizeBytes: huge.sizeBytes, bitmap: new Uint8Array(128) });
  const haves = (...indexes: number[]) => encodeControlFrame({ type: 'have', blob: huge.id, indexes });
  const blobOf = (n: number) => `a.test/sha256:${n.toString(16).padStart(64, '0')}` as typeof huge.id;

  test.each([
    ['has a piece beyond the blob', () => [mapOf(), haves(0, 1024)], ['map']],
    ['has the largest index there is', () => [mapOf(), haves(0xffff_ffff)], ['map']],
    ['names too many pieces', () => [mapOf(), overfullHave(haves(1))], ['map']],
    [
      'wants too much',
      () => [...Array(2049).keys()].map((n) => encodeControlFrame({ type: 'want', blob: blobOf(n) })),
      [],
    ],
  ])('%s is disconnected', async (_what, frames, heard) => {
    const connection = await reach();
    const listener = new RecordingListener();
    agent.network.want(huge.id, listener);
    await say(connection, CONTROL_PROTOCOL, hello(await cluster.certify(own())), ...frames());
    await until(() => connection.status !== 'open');
    expect(listener.events.map((event) => event.split(' ')[0]).filter((event) => event !== 'gone')).toEqual(heard);
  });

  test('names pieces of a blob it said nothing of is not listened to', async () => {
    const connection = await reach();
    const listener = new RecordingListener();
    agent.network.want(huge.id, listener);
    const other = encodeControlFrame({ type: 'have', blob: blobOf(1), indexes: [0] });
    await say(connection, CONTROL_PROTOCOL, hello(await cluster.certify(own())), haves(5), other, mapOf(), haves(6, 6));
    await until(() => listener.events.length === 2);
    expect(listener.events).toEqual(['map  536870912 0/1024', 'haves 6,6']);
    expect(connection.status).toBe('open');
  });

  test('wants and unwants without end is disconnected, and made no more work than it may', async () => {
    const connection = await reach();
    const listener = new RecordingListener();
    agent.network.want(huge.id, listener);
    const stream = await connection.newStream(CONTROL_PROTOCOL);
    stream.addEventListener('message', () => {});
    stream.send(hello(await cluster.certify(own())));
    const [wants, unwants] = (['want', 'unwant'] as const).map((type) => encodeControlFrame({ type, blob: huge.id }));
    const flood = Buffer.concat(Array.from({ length: 250 }, () => [wants!, unwants!]).flat());
    for (let round = 0; round < 400 && connection.status === 'open'; round++) {
      try {
        stream.send(flood);
      } catch {
        break; // The stream is closed before its connection is.
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => connection.status !== 'open');
    // What may be said at once, and what comes to that in the time of this test.
    expect(listener.events.length).toBeLessThan(16_384 + 5 * 4_000 + 2);
    expect(agent.network.connected()).toEqual([]);
  });
});

test('a member that does not read its control stream is disconnected', async () => {
  // A map of 64 KiB: a hundred of them are more than a stream's window and the queue together.
  const huge = { ...randomBlob(10), sizeBytes: 2 * 1024 ** 4 };
  agent.holdings.put(huge, 0, new Uint8Array(1), huge.bytes);
  const connection = await reach();
  const stream = await connection.newStream(CONTROL_PROTOCOL);
  stream.addEventListener('message', () => {});
  stream.send(hello(await cluster.certify(own())));
  stream.send(encodeControlFrame({ type: 'want', blob: huge.id }));
  await until(() => agent.holdings.lookups > 0);
  stream.pause();
  for (let round = 0; round < 1_000 && agent.network.connected().length > 0; round++) {
    stream.send(encodeControlFrame({ type: 'want', blob: huge.id }));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => agent.network.connected().length === 0);
});

test('an agent that dials an impostor tells it nothing but its HELLO', async () => {
  const impostor = await startAgent(new TestCluster());
  try {
    const listener = new RecordingListener();
    impostor.network.want(blob.id, listener);
    agent.network.dial([impostor.record]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(agent.network.connected()).toEqual([]);
    expect(impostor.network.connected()).toEqual([]);
    expect(listener.events).toEqual([]);
  } finally {
    await impostor.network.stop();
  }
});

test('a link outlives a certificate that is renewed, and ends with one that is not', async () => {
  let nowMs = Date.now();
  const clock = () => nowMs;
  const seed = randomBytes(32);
  const { peerId } = identityOfSeed(seed);
  let renewed = await cluster.membership(peerId);
  const options = { clock, renewalIntervalMs: 20 };
  const one = await startAgent(cluster, { ...options, seed, membership: () => renewed });
  const two = await startAgent(cluster, options);
  try {
    await connect(one, two);
    const certificate = await cluster.certify(peerId, { expiresAtMs: nowMs + 7_200_000 });
    renewed = { ...renewed, certificate };
    await new Promise((resolve) => setTimeout(resolve, 100));
    nowMs += 3_600_000 + 240_000;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([one, two].map(({ network }) => network.connected().length)).toEqual([1, 1]);
    nowMs += 120_000;
    await until(() => one.network.connected().length === 0 && two.network.connected().length === 0);
  } finally {
    await Promise.all([one.network.stop(), two.network.stop()]);
  }
});

/** A HAVE of 1025 pieces, which our own encoder refuses to make. */
function overfullHave(one: Uint8Array): Uint8Array {
  const frame = Buffer.concat([one, Buffer.alloc(1024 * 4)]);
  frame.writeUInt32BE(frame.length - 4);
  return frame;
}

function unsigned(peerId: string): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ aud: 'peers', sub: peerId, exp: Date.now() })}.`;
}
