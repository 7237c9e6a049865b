/** `shoal prefetch` with a tracker and real agents: who has the image then, what the registry sent, and what was not opened by it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTrackerClient } from '@shoal/agent';
import { type Cluster, createLogger, startCluster } from '@shoal/cli';
import type { PrefetchOrder } from '@shoal/wire';
import { request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CommandResult } from '../support/daemon/process.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { newIdentity } from '../support/member-identity.ts';
import { runShoal } from '../support/run-shoal.ts';

const MiB = 2 ** 20;
const REGISTRY = 'registry.test';
const PRIVATE = 'private.test';
const login = { username: 'node', password: 'of-the-node' };
const authorization = `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;

type Outcome = PrefetchOrder & { seconds: number; fromPeers: number; fromOrigin: number; failed: number };

const resources = new AsyncDisposableStack();
let origin: FaultOrigin;
let locked: FaultOrigin;
let cluster: Cluster;
/** An order for a node that was killed just before; it takes the tracker a while to be sure. */
let forTheDead: Promise<CommandResult>;

async function newImage(tag: string, layers: readonly number[], at = origin): Promise<ImageFixture> {
  const image = await buildImage({ seed: `prefetch-${tag}`, repository: 'org/app', tag, layers, index: true });
  at.add(image);
  return image;
}

/** Node 4 is alone in another zone. */
const zoneOf = (index: number): string => (index < 3 ? 'a' : 'b');

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-prefetch-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  origin = resources.use(await FaultOrigin.start());
  locked = resources.use(await FaultOrigin.start({ auth: { type: 'basic', ...login } }));
  const auth = authorization.slice('Basic '.length);
  const dockerConfig = join(folder, 'docker-config.json');
  await writeFile(dockerConfig, JSON.stringify({ auths: { [PRIVATE]: { auth } } }));
  cluster = await startCluster({
    nodes: 4,
    folder,
    registries: { [REGISTRY]: origin.url, [PRIVATE]: locked.url },
    agentArguments: (index) => [
      ...['--zone', zoneOf(index)],
      ...(index === 0 ? ['--docker-config', dockerConfig] : []),
    ],
  });
  resources.defer(() => cluster.stop());
  await newImage('small', [100_000]);
  await cluster.agents[3]!.kill('SIGKILL');
  forTheDead = prefetch(`${REGISTRY}/org/app:small`, '--nodes', 'node-1,node-4');
});
afterAll(() => resources.disposeAsync());

/** On node 1. */
function prefetch(...args: string[]): Promise<CommandResult> {
  return runShoal('prefetch', ...args, '--json', '--admin', new URL(cluster.agents[0]!.adminUrl).host);
}

async function done(...args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await prefetch(...args);
  expect(code, stderr + stdout).toBe(0);
  return JSON.parse(stdout) as Outcome;
}

const statesOf = ({ nodes }: PrefetchOrder) => Object.fromEntries(nodes.map(({ name, state }) => [name, state]));

async function statusThrough(index: number, path: string, headers: Record<string, string> = {}): Promise<number> {
  const { statusCode, body } = await request(`${cluster.agents[index]!.mirrorUrl}/v2/${path}`, { headers });
  await body.dump();
  return statusCode;
}

/** As a runtime does it: by tag, then what that names. */
async function pulled(index: number, image: ImageFixture): Promise<void> {
  const blobs = image.blobs.map(
    ({ digest, content, sizeBytes }) => [`blobs/${digest}`, content.read(0, sizeBytes)] as const,
  );
  const manifests = [`manifests/${image.tag}`, `manifests/${image.manifest.digest}`];
  for (const [path, bytes] of [
    [manifests[0], image.root.bytes] as const,
    [manifests[1], image.manifest.bytes] as const,
    ...blobs,
  ]) {
    const answer = await request(`${cluster.agents[index]!.mirrorUrl}/v2/${REGISTRY}/org/app/${path}`);
    expect([answer.statusCode, Buffer.from(await answer.body.bytes()).equals(bytes)], path).toEqual([200, true]);
  }
}

test('all nodes of a zone hold the image, and the registry sent it about once', async () => {
  const image = await newImage('v1', [12 * MiB, 3 * MiB, 40_000]);
  origin.resetStats();
  const outcome = await done(`${REGISTRY}/org/app:v1`, '--zone', 'a');
  expect(statesOf(outcome)).toEqual({ 'node-1': 'done', 'node-2': 'done', 'node-3': 'done' });
  const imageBytes = image.totalBytes + image.manifests.reduce((sum, { bytes }) => sum + bytes.length, 0);
  for (const node of outcome.nodes) expect([node.doneBytes, node.totalBytes]).toEqual([imageBytes, imageBytes]);
  expect(origin.stats().blobBytes / image.totalBytes).toBeLessThanOrEqual(1.1);
  expect(outcome.fromPeers + outcome.fromOrigin).toBe(3 * imageBytes);
  // Nothing is left to fetch on any of the three. The image is public, so that even its registry is not needed any more.
  origin.resetStats();
  await pulled(0, image);
  expect(origin.stats().blobBytes).toBe(0);
  await origin.down();
  try {
    await pulled(1, image);
    await pulled(2, image);
  } finally {
    await origin.up();
  }
  const again = await done(`${REGISTRY}/org/app:v1`);
  expect(again).toMatchObject({ nodes: [{ name: 'node-1', state: 'done' }], fromPeers: 0, fromOrigin: 0 });
});

test('without --nodes this node fetches alone, below its rate', async () => {
  await newImage('slow', [9 * MiB]);
  const { seconds, nodes } = await done(`${REGISTRY}/org/app:slow`, '--rate', '4MiB');
  expect(nodes.map(({ name }) => name)).toEqual(['node-1']);
  expect(seconds).toBeGreaterThan(2);
});

test('what was prefetched can be pinned by its name', async () => {
  await newImage('pinned', [100_000]);
  await done(`${REGISTRY}/org/app:pinned`);
  const admin = ['--admin', new URL(cluster.agents[0]!.adminUrl).host];
  const pin = await runShoal('cache', 'pin', `${REGISTRY}/org/app:pinned`, ...admin);
  expect([pin.code, pin.stdout], pin.stderr).toEqual([0, expect.stringContaining('Pinned: ')]);
  expect((await runShoal('cache', 'unpin', `${REGISTRY}/org/app:pinned`, ...admin)).code).toBe(0);
});

test('a private image: only the node whose own credentials open it fetches it, and that opens it to no client', async () => {
  const image = await newImage('v1', [MiB], locked);
  const { code, stdout, stderr } = await prefetch(`${PRIVATE}/org/app:v1`, '--nodes', 'node-1,node-2');
  expect(code).toBe(1);
  const order = JSON.parse(stdout) as Outcome;
  expect(statesOf(order)).toEqual({ 'node-1': 'done', 'node-2': 'failed' });
  expect(stderr).toMatch(/^node-2: .*does not show it to this node's own credentials/m);
  for (const path of [`blobs/${image.layers[0]!.digest}`, 'manifests/v1', `manifests/${image.root.digest}`]) {
    const url = `${PRIVATE}/org/app/${path}`;
    expect(await statusThrough(0, url), path).toBe(401);
    expect(await statusThrough(0, url, { authorization: `Basic ${btoa('node:guessed')}` }), path).toBe(401);
    expect(await statusThrough(0, url, { authorization }), path).toBe(200);
    expect(await statusThrough(1, url), path).toBe(401);
  }
});

test('a cancelled order stops on every node', async () => {
  await newImage('cancelled', [24 * MiB]);
  origin.resetStats();
  const order = await done(`${REGISTRY}/org/app:cancelled`, '--zone', 'a', '--rate', '1MiB', '--detach');
  await origin.until(({ blobBytes }) => blobBytes > MiB);
  const cancelled = await prefetch('cancel', order.id);
  expect(JSON.parse(cancelled.stdout)).toMatchObject({ id: order.id, state: 'cancelled' });
  // Nodes hear of it with their next report; what was under way then is let go.
  await sleep(2_500);
  const before = origin.stats().blobBytes;
  await sleep(1_500);
  expect(origin.stats().blobBytes).toBe(before);
  expect(before).toBeLessThan(20 * MiB);
  const listed = JSON.parse((await prefetch('ls')).stdout) as { id: string; state: string }[];
  expect(listed.find(({ id }) => id === order.id)?.state).toBe('cancelled');
});

test('an agent of a version before orders works as ever, and is told to take none', async () => {
  const identity = newIdentity();
  const tracker = cluster.tracker!;
  const old = createTrackerClient(
    { trackers: [tracker.url], joinToken: await tracker.joinToken(), zone: 'old' },
    {
      identity,
      addresses: () => ['/ip4/127.0.0.1/tcp/9'],
      logger: createLogger({ level: 'silent', format: 'json' }, process.stderr),
      clock: Date.now,
    },
  );
  try {
    expect(await old.start()).toBe('joined');
    const { code, stdout, stderr } = await prefetch(`${REGISTRY}/org/app:small`, '--zone', 'old');
    expect([code, statesOf(JSON.parse(stdout) as Outcome)]).toEqual([1, { [identity.peerId]: 'failed' }]);
    expect(stderr).toContain('takes no orders');
    expect(old.reachable()).toBe(true);
  } finally {
    await old.close();
  }
});

test('a node that is down is told as such, and holds up nobody', async () => {
  const unknown = await prefetch(`${REGISTRY}/org/app:small`, '--nodes', 'node-9');
  expect([unknown.code, unknown.stderr]).toEqual([
    1,
    expect.stringContaining('node-9: no agent of this name is there'),
  ]);
  const { code, stdout, stderr } = await forTheDead;
  expect([code, statesOf(JSON.parse(stdout) as Outcome)]).toEqual([1, { 'node-1': 'done', 'node-4': 'failed' }]);
  expect(stderr).toContain('node-4: the agent does not say anything any more');
});
