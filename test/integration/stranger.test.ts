/** Who reaches the right port of a real agent or tracker without being a member: no byte, and no answer to "who has this". */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { multiaddr } from '@multiformats/multiaddr';
import { createTrackerClient } from '@shoal/agent';
import { createLogger } from '@shoal/cli';
import { type BlobId, blobIdOf } from '@shoal/oci';
import { startTracker } from '@shoal/tracker';
import { CONTROL_PROTOCOL, encodeControlFrame, encodePieceRequest, PIECE_PROTOCOL } from '@shoal/wire';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identityOfSeed } from '../../packages/agent/src/peers/identity.ts';
import { createNode, type Node } from '../../packages/agent/src/peers/libp2p-node.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';

const resources = new AsyncDisposableStack();
const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);
let cluster: ShoalCluster;
let image: ImageFixture;
let blob: BlobId;

beforeAll(async () => {
  const origin = resources.use(await FaultOrigin.start());
  cluster = resources.use(await ShoalCluster.start({ origin }));
  image = await buildImage({ seed: 'stranger', layers: [1024 * 1024] });
  origin.add(image);
  blob = blobIdOf('registry.test', image.layers[0]!.digest);
  await cluster.pull(0, image);
});
afterAll(() => resources.disposeAsync());

interface Stranger extends AsyncDisposable {
  readonly node: Node;
  readonly seed: Uint8Array;
  readonly received: Uint8Array[];
}

async function newStranger(): Promise<Stranger> {
  const seed = randomBytes(32);
  const node = await createNode({ privateKeySeed: seed, listen: [], announce: [], maxConnections: 10 });
  await node.start();
  return { node, seed, received: [], [Symbol.asyncDispose]: async () => node.stop() };
}

/** Joins a cluster as this stranger and gives the certificate it gets there. */
async function certificateOf(tracker: { url: string; joinToken: string }, seed: Uint8Array): Promise<string> {
  const client = createTrackerClient(
    { trackers: [tracker.url], joinToken: tracker.joinToken, zone: 'default' },
    { identity: identityOfSeed(seed), addresses: () => [], logger, clock: Date.now },
  );
  try {
    expect(await client.start()).toBe('joined');
    return client.membership()?.certificate ?? '';
  } finally {
    await client.close();
  }
}

/** Dials the agent and says all of that on streams of its own; gives the connection. */
async function say(stranger: Stranger, ...said: [protocol: string, ...frames: Uint8Array[]][]) {
  const agent = cluster.agent(0);
  const address = agent.peerAddresses[0]!.replace(/\/p2p\/.*$/, '');
  const connection = await stranger.node.dial(multiaddr(`${address}/p2p/${agent.peerId}`));
  for (const [protocol, ...frames] of said) {
    try {
      const stream = await connection.newStream(protocol);
      stream.addEventListener('message', ({ data }) => stranger.received.push(data.subarray()));
      for (const frame of frames) stream.send(frame);
    } catch {
      // Shown the door already.
    }
  }
  return connection;
}

const hello = (certificate: string) => encodeControlFrame({ type: 'hello', certificate, zone: 'default' });
const want = () => encodeControlFrame({ type: 'want', blob });
const askForPiece = () => encodePieceRequest({ blob, index: 0, patience: 0 });

test('with the certificate of this cluster, the agent says what it holds', async () => {
  await using member = await newStranger();
  const joinToken = await cluster.tracker.joinToken();
  const certificate = await certificateOf({ url: cluster.tracker.url, joinToken }, member.seed);
  await say(member, [CONTROL_PROTOCOL, hello(certificate), want()]);
  await expect.poll(() => Buffer.concat(member.received).includes(blob)).toBe(true);
});

test('without any certificate, nothing comes back and the connection ends', async () => {
  await using stranger = await newStranger();
  const asked = await say(stranger, [CONTROL_PROTOCOL, want()], [PIECE_PROTOCOL, askForPiece()]);
  await expect.poll(() => asked.status, { timeout: 10_000 }).not.toBe('open');
  const hasty = await say(stranger, [PIECE_PROTOCOL, askForPiece()]);
  await expect.poll(() => hasty.status, { timeout: 10_000 }).not.toBe('open');
  const silent = await say(stranger, [CONTROL_PROTOCOL]);
  await expect.poll(() => silent.status, { timeout: 15_000 }).not.toBe('open');
  expect(stranger.received).toEqual([]);
  expect(await cluster.metric(0, 'shoal_peers')).toBe(0);
}, 40_000);

test('with the certificate of another cluster, nothing comes back and the connection ends', async () => {
  await using stranger = await newStranger();
  const dataDir = await mkdtemp(join(tmpdir(), 'shoal-other-cluster-'));
  const listen = { host: '127.0.0.1', port: 0 };
  const other = await startTracker({ listen, dataDir }, { logger, clock: Date.now, random: Math.random });
  try {
    const certificate = await certificateOf(other, stranger.seed);
    const connection = await say(
      stranger,
      [CONTROL_PROTOCOL, hello(certificate), want()],
      [PIECE_PROTOCOL, askForPiece()],
    );
    await expect.poll(() => connection.status, { timeout: 10_000 }).not.toBe('open');
    expect(stranger.received).toEqual([]);
    expect(await cluster.metric(0, 'shoal_peers')).toBe(0);
  } finally {
    await other.close();
    await rm(dataDir, { recursive: true });
  }
});

test('the tracker tells nobody without a session who has a blob, nor gives out leases or references', async () => {
  await using member = await newStranger();
  const joinToken = await cluster.tracker.joinToken();
  // A member's certificate is shown to every peer: it must not open the tracker.
  const certificate = await certificateOf({ url: cluster.tracker.url, joinToken }, member.seed);
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const reference = {
    registry: 'registry.test',
    repository: image.repository,
    reference: image.tag,
    scope: 'public',
  };
  const calls = {
    '/v1/announce': { addresses: [], blobs: [{ blob, state: 'want' }], withdraw: [] },
    '/v1/lease': { blob, sizeBytes: 1024 * 1024, starved: false },
    '/v1/reference/find': reference,
    '/v1/reference/ask': { ...reference, accept: 'a', maxAgeMs: 30_000, waitMs: 0 },
  };
  try {
    for (const [path, call] of Object.entries(calls)) {
      for (const authorization of [undefined, 'Bearer x', `Bearer ${certificate}`]) {
        const answer = await request(new URL(path, cluster.tracker.url), {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) },
          body: JSON.stringify(call),
          dispatcher,
        });
        const text = await answer.body.text();
        expect([answer.statusCode, JSON.parse(text).error.code], path).toEqual([401, 'NO_SESSION']);
        expect(text).not.toContain(cluster.agent(0).peerId);
        expect(text).not.toContain('127.0.0.1');
      }
    }
  } finally {
    await dispatcher.close();
  }
});
