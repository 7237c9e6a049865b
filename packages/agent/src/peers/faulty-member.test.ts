/** What a member does wrong in the middle of a piece, and what the asker makes of it. */
import { createHash, randomBytes } from 'node:crypto';
import type { Connection, Stream } from '@libp2p/interface';
import { CONTROL_PROTOCOL, encodeControlFrame, encodePieceAnswer, PIECE_PROTOCOL } from '@shoal/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { signAttestation } from './attesting.ts';
import { randomBlob, startAgent, type TestAgent, TestCluster, until } from './cluster.fixture.ts';
import { privateKeyOfSeed } from './ed25519-key.ts';
import { createNode, type Node } from './libp2p-node.ts';

const cluster = new TestCluster();
const blob = randomBlob(200_000);
let agent: TestAgent;
let member: Node;
let head: Uint8Array;
let behave: (stream: Stream, connection: Connection) => void;

beforeEach(async () => {
  agent = await startAgent(cluster);
  const seed = randomBytes(32);
  member = await createNode({
    privateKeySeed: seed,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    maxConnections: 10,
  });
  const peerId = member.peerId.toString();
  const certificate = await cluster.certify(peerId);
  const piece = { blob: blob.id, sizeBytes: blob.sizeBytes, index: 0 };
  const sha256 = createHash('sha256').update(blob.bytes).digest();
  const attestation = signAttestation(piece, sha256, certificate, privateKeyOfSeed(seed));
  head = encodePieceAnswer({ type: 'piece', length: blob.sizeBytes, attestation });
  await member.handle(CONTROL_PROTOCOL, (stream) => {
    stream.addEventListener(
      'message',
      () => stream.send(encodeControlFrame({ type: 'hello', certificate, zone: '' })),
      {
        once: true,
      },
    );
  });
  await member.handle(PIECE_PROTOCOL, (stream, connection) => {
    stream.addEventListener('message', () => behave(stream, connection));
  });
  await member.start();
  agent.network.dial([{ peerId, addresses: member.getMultiaddrs().map(String).map(bare), zone: '' }]);
  await until(() => agent.network.connected().length === 1);
});
afterEach(async () => {
  await Promise.all([agent.network.stop(), member.stop()]);
});

const bare = (address: string) => address.replace(/\/p2p\/.*/, '');
const fetch = (deadlineMs = 2_000) =>
  agent.network.fetchPiece(
    member.peerId.toString(),
    { blob: blob.id, sizeBytes: blob.sizeBytes, index: 0 },
    { patience: 0, deadlineMs, signal: new AbortController().signal },
  );
const half = blob.bytes.subarray(0, 100_000);

test('a well-behaved one is believed', async () => {
  behave = (stream) => {
    stream.send(head);
    stream.send(blob.bytes);
  };
  expect(blob.bytes.equals((await fetch()).bytes)).toBe(true);
  expect(blob.bytes.equals((await fetch()).bytes)).toBe(true);
});

test('an answer that stands in line behind another one is waited for beyond its deadline', async () => {
  const parts = Array.from({ length: 15 }, (_, at) => blob.bytes.subarray(at * 13_334, (at + 1) * 13_334));
  const waiting: Stream[] = [];
  let asked = 0;
  behave = (stream) => {
    asked++;
    if (asked === 1) waiting.push(stream);
    if (asked !== 2) return;
    stream.send(head);
    const trickle = setInterval(() => {
      const part = parts.shift();
      if (part !== undefined) stream.send(part);
      if (parts.length > 0) return;
      clearInterval(trickle);
      waiting[0]?.send(head);
      waiting[0]?.send(blob.bytes);
    }, 100);
  };
  const startedAtMs = performance.now();
  const [behind, before] = await Promise.all([fetch(1_000), fetch(1_000)]);
  expect(performance.now() - startedAtMs).toBeGreaterThan(1_000);
  expect(blob.bytes.equals(behind.bytes)).toBe(true);
  expect(blob.bytes.equals(before.bytes)).toBe(true);
});

test('a trickle is no progress, whatever else trickles', async () => {
  const trickles: NodeJS.Timeout[] = [];
  behave = (stream) => {
    stream.send(head);
    trickles.push(setInterval(() => stream.status === 'open' && stream.send(blob.bytes.subarray(0, 1)), 50));
  };
  try {
    const started = performance.now();
    const both = await Promise.allSettled([fetch(500), fetch(500)]);
    for (const one of both) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'timeout' } });
    expect(performance.now() - started).toBeLessThan(1_500);
  } finally {
    for (const trickle of trickles) clearInterval(trickle);
  }
});

test('silence after half a piece is a timeout, and the connection stays', async () => {
  behave = (stream) => {
    stream.send(head);
    stream.send(half);
  };
  await expect(fetch(150)).rejects.toMatchObject({ code: 'timeout' });
  expect(agent.network.connected()).toHaveLength(1);
});

test('a trickle is a timeout too', async () => {
  behave = (stream) => {
    stream.send(head);
    const trickle = setInterval(() => {
      if (stream.status === 'open') stream.send(Buffer.of(0));
      else clearInterval(trickle);
    }, 20);
  };
  await expect(fetch(150)).rejects.toMatchObject({ code: 'timeout' });
});

test('a connection lost after half a piece is gone', async () => {
  behave = (stream, connection) => {
    stream.send(head);
    stream.send(half);
    setTimeout(() => connection.abort(new Error('killed')), 50);
  };
  await expect(fetch()).rejects.toMatchObject({ code: 'gone' });
});

test('a stream reset or ended after half a piece is gone, and the next piece gets a new stream', async () => {
  for (const end of [(stream: Stream) => stream.abort(new Error('reset')), (stream: Stream) => void stream.close()]) {
    behave = (stream) => {
      stream.send(head);
      stream.send(half);
      setTimeout(() => end(stream), 50);
    };
    await expect(fetch()).rejects.toMatchObject({ code: 'gone' });
  }
  behave = (stream) => {
    stream.send(head);
    stream.send(blob.bytes);
  };
  await expect(fetch()).resolves.toBeDefined();
});

test.each([
  ['an answer that is no frame', () => randomBytes(100)],
  ['a frame far too long', () => Buffer.from('7fffffff0102', 'hex')],
  ['a piece longer than it is', () => encodePieceAnswer({ type: 'piece', length: 200_001, attestation: head })],
])('%s is against the protocol and ends the connection', async (_what, answer) => {
  behave = (stream) => void stream.send(answer());
  await expect(fetch()).rejects.toMatchObject({ code: 'protocol', peerIsToBlame: true });
  await until(() => agent.network.connected().length === 0);
});

test('more bytes than the piece has end the connection, and the piece itself is good', async () => {
  behave = (stream) => {
    stream.send(head);
    stream.send(blob.bytes);
    stream.send(Buffer.of(1));
  };
  expect(blob.bytes.equals((await fetch()).bytes)).toBe(true);
  await until(() => agent.network.connected().length === 0);
});
