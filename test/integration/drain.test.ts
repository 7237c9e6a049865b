/** A real agent that is told to stop while clients and other agents rely on it. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTrackerClient, type StartableTrackerClient } from '@shoal/agent';
import { type Cluster, createLogger, startCluster, sumOf } from '@shoal/cli';
import { blobIdOf } from '@shoal/oci';
import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identityOfSeed } from '../../packages/agent/src/peers/identity.ts';
import { type Content, FaultOrigin, syntheticContent } from '../support/fault-origin.ts';

/** More than the buffers of both ends of a connection hold. */
const SIZE = 24 * 1024 * 1024 + 3;
const PROMPT_MS = 1_000;
const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);

let resources: AsyncDisposableStack;
let origin: FaultOrigin;
let content: Content;
let folder: string;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  folder = await mkdtemp(join(tmpdir(), 'shoal-drain-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  origin = resources.use(await FaultOrigin.start());
  content = await syntheticContent('drain', SIZE);
  origin.addBlob('org/app', content);
});
afterEach(() => resources.disposeAsync());

async function start(nodes: number, ...more: string[]): Promise<Cluster> {
  const registries = { 'registry.test': origin.url };
  const cluster = await startCluster({ nodes, folder, registries, agentArguments: () => more });
  resources.defer(() => cluster.stop());
  return cluster;
}

function urlAt(cluster: Cluster, node: number, of: Content = content): string {
  return `${cluster.agents[node]!.mirrorUrl}/v2/registry.test/org/app/blobs/${of.digest}`;
}

/** A client that has the head of its answer, and takes nothing of the body until it is told to. */
async function slowClient(url: string): Promise<{ body: IncomingMessage; finish(): Promise<string> }> {
  const body = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject);
  });
  body.pause();
  return {
    body,
    async finish() {
      const hash = createHash('sha256');
      for await (const chunk of body) hash.update(chunk as Buffer);
      return `sha256:${hash.digest('hex')}`;
    },
  };
}

/** A member that asks the tracker who has the blob, and holds nothing itself. */
async function onlooker(cluster: Cluster): Promise<StartableTrackerClient> {
  const client = createTrackerClient(
    { trackers: [cluster.tracker!.url], joinToken: await cluster.tracker!.joinToken(), zone: 'default' },
    { identity: identityOfSeed(randomBytes(32)), addresses: () => [], logger, clock: Date.now },
  );
  expect(await client.start()).toBe('joined');
  resources.defer(() => client.close());
  return client;
}

async function named(client: StartableTrackerClient): Promise<string[]> {
  const blob = blobIdOf('registry.test', content.digest);
  return ((await client.want([blob]))?.get(blob) ?? []).map(({ peerId }) => peerId);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 5_000; !(await holds()); await sleep(50)) {
    if (performance.now() > endMs) throw new Error('it did not come to hold within 5 s');
  }
}

test('a body under way is sent to its end, new requests go upstream at once, and nobody hears of the agent any more', async () => {
  const cluster = await start(2, '--drain-timeout', '30s');
  const [agent, other] = cluster.agents;
  await (await request(urlAt(cluster, 0))).body.arrayBuffer();
  await until(async () => sumOf(await other!.metrics(), 'shoal_peers', {}) === 1);
  const client = await onlooker(cluster);
  await until(async () => (await named(client)).includes(agent!.peerId));
  const slow = await slowClient(urlAt(cluster, 0));

  const ended = agent!.kill('SIGTERM');
  await until(async () => (await request(`${agent!.adminUrl}/readyz`)).statusCode === 503);
  const ready = await request(`${agent!.adminUrl}/readyz`);
  expect(await ready.body.json()).toEqual({ ready: false, reasons: ['the agent is stopping'] });
  const sinceMs = performance.now();
  await expect(request(urlAt(cluster, 0))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(performance.now() - sinceMs).toBeLessThan(PROMPT_MS);
  await until(async () => !(await named(client)).includes(agent!.peerId));
  expect(sumOf(await agent!.metrics(), 'shoal_draining', {})).toBe(1);
  // They are connected, and yet it is not asked any more.
  expect((await (await request(urlAt(cluster, 1))).body.arrayBuffer()).byteLength).toBe(SIZE);
  const received = await other!.metrics();
  expect(sumOf(received, 'shoal_bytes_total', { source: 'peer', direction: 'in' })).toBe(0);
  expect(sumOf(received, 'shoal_bytes_total', { source: 'origin', direction: 'in' })).toBe(SIZE);

  expect(await slow.finish()).toBe(content.digest);
  await ended;
  expect(await named(client)).not.toContain(agent!.peerId);
  expect(agent!.logs()).toContain('nothing is under way any more');
});

test('a pull from the registry that has begun goes on, and its blob is there after the next start', async () => {
  const small = await syntheticContent('drain small', 4 * 1024 * 1024);
  origin.addBlob('org/app', small);
  origin.inject({ digest: small.digest, method: 'GET' }, { type: 'slow', bytesPerSecond: 3 * 1024 * 1024 });
  const cluster = await start(1);
  const [agent] = cluster.agents;
  const slow = await slowClient(urlAt(cluster, 0, small));
  const ended = agent!.kill('SIGTERM');
  expect(await slow.finish()).toBe(small.digest);
  await ended;
  await agent!.restart();
  origin.clearFaults();
  const before = origin.stats();
  const answer = await request(urlAt(cluster, 0, small));
  await answer.body.arrayBuffer();
  expect(answer.statusCode).toBe(200);
  // Only whether the client may read it is asked.
  expect(origin.stats().blobBytes - before.blobBytes).toBeLessThan(64 * 1024);
});

test('a body that takes longer than the drain timeout is cut, and peers see the agent leave', async () => {
  const cluster = await start(2, '--drain-timeout', '1s');
  const [agent, other] = cluster.agents;
  for (const node of [0, 1]) await (await request(urlAt(cluster, node))).body.arrayBuffer();
  const slow = await slowClient(urlAt(cluster, 0));
  const startedMs = performance.now();
  const ended = agent!.kill('SIGTERM');
  await ended;
  expect(performance.now() - startedMs).toBeLessThan(8_000);
  await expect(slow.finish()).rejects.toMatchObject({ code: 'ECONNRESET' });
  expect(agent!.logs()).toContain('requests were cut off: --drain-timeout was over');
  await until(async () => sumOf(await other!.metrics(), 'shoal_peers', {}) === 0);
});

test('a second signal ends it at once', async () => {
  const cluster = await start(1, '--drain-timeout', '1m');
  const [agent] = cluster.agents;
  const slow = await slowClient(urlAt(cluster, 0));
  const ended = agent!.kill('SIGTERM');
  await until(async () => (await request(`${agent!.adminUrl}/readyz`)).statusCode === 503);
  process.kill(agent!.pid!, 'SIGTERM');
  const startedMs = performance.now();
  await ended;
  expect(performance.now() - startedMs).toBeLessThan(PROMPT_MS);
  await expect(slow.finish()).rejects.toThrow();
});
