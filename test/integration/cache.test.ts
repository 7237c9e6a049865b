/** The cache of a running agent, as its operator sees and changes it: real processes, the command line against them. */
import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, pullImage, runCli, startCluster, sumOf } from '@shoal/cli';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CachedBlob, CachePin, CacheUsage } from '../../packages/cli/src/cache/answers.ts';
import { fakeIo } from '../../packages/cli/src/fake-io.fixture.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { runShoal } from '../support/run-shoal.ts';

const MiB = 1024 * 1024;
const REGISTRY = 'registry.test';
const QUOTA = 48 * MiB;

const anyCertificate = new Agent({ connect: { rejectUnauthorized: false } });
const resources = new AsyncDisposableStack();
resources.defer(() => anyCertificate.close());
let origin: FaultOrigin;
let cluster: Cluster;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-cache-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  origin = resources.use(await FaultOrigin.start());
  cluster = await startCluster({
    nodes: 2,
    folder,
    registries: { [REGISTRY]: origin.url },
    agentArguments: (index) => (index === 0 ? ['--cache-size', String(QUOTA), '--min-free-disk', '0'] : []),
  });
  resources.defer(() => cluster.stop());
});
afterAll(() => resources.disposeAsync());

async function newImage(name: string, ...layers: number[]): Promise<ImageFixture> {
  const image = await buildImage({ seed: name, repository: `org/${name}`, tag: 'v1', layers });
  origin.add(image);
  return image;
}

/** Resolves when all of it is in the store, which is a moment after the client has it. */
async function pull(node: number, { repository, tag }: ImageFixture): Promise<void> {
  const agent = cluster.agents[node]!;
  const platform = { os: 'linux', architecture: 'amd64' };
  await pullImage({ mirrorUrl: agent.mirrorUrl, registry: REGISTRY, repository, reference: tag, platform });
  await expect.poll(async () => sumOf(await agent.metrics(), 'shoal_pulls_open'), { timeout: 10_000 }).toBe(0);
}

async function cache(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const admin = new URL(cluster.agents[0]!.adminUrl).host;
  const code = await runCli(['cache', ...args, '--admin', admin], io);
  return { code, out: io.out(), err: io.err() };
}

async function listed(): Promise<{ blobs: CachedBlob[]; pins: CachePin[]; usage: CacheUsage; digests: string[] }> {
  const { code, out, err } = await cache('ls', '--json');
  expect(code, err).toBe(0);
  const answer = JSON.parse(out) as { blobs: CachedBlob[]; pins: CachePin[]; usage: CacheUsage };
  return { ...answer, digests: answer.blobs.map(({ digest }) => digest) };
}

const digestsOf = ({ manifests, blobs }: ImageFixture): string[] =>
  [...manifests, ...blobs].map(({ digest }) => digest);
const referenceOf = ({ repository, tag }: ImageFixture): string => `${REGISTRY}/${repository}:${tag}`;

/** Blobs that the tracker knows of. */
async function trackedBlobs(): Promise<number> {
  const { body } = await request(`${cluster.tracker!.url}/metrics`, { dispatcher: anyCertificate });
  return Number(/^shoal_tracker_swarms (\d+)$/m.exec(await body.text())?.[1]);
}

test('a full cache keeps what is pinned and what is being read, over a restart too, and lets go of what its operator names', async () => {
  const agent = cluster.agents[0]!;
  const [pinned, read] = [await newImage('pinned', 4 * MiB, 4 * MiB), await newImage('read', 24 * MiB)];
  await pull(0, pinned);
  await pull(0, read);
  const pin = await cache('pin', referenceOf(pinned));
  expect(pin, pin.err).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Pinned: registry\.test\/org\/pinned:v1, 4 blobs, 8\.4 MB\.$/m),
  });

  // A client that stops reading after the first bytes: what is on its way does not hold the whole layer.
  const [layer] = read.layers;
  const slow = await request(`${agent.mirrorUrl}/v2/${REGISTRY}/org/read/blobs/${layer!.digest}`);
  const body = slow.body[Symbol.asyncIterator]();
  const hash = createHash('sha256').update((await body.next()).value);
  expect((await listed()).blobs.find(({ digest }) => digest === layer!.digest)).toMatchObject({
    inUse: true,
    pinned: false,
    kind: 'layer',
    sizeBytes: 24 * MiB,
  });
  for (let index = 0; index < 5; index++) await pull(0, await newImage(`other-${index}`, 6 * MiB));
  // What has no room beside these is served all the same, and not kept.
  const large = (await newImage('large', 20 * MiB)).layers[0]!;
  const passed = await request(`${agent.mirrorUrl}/v2/${REGISTRY}/org/large/blobs/${large.digest}`);
  const bytes = Buffer.from(await passed.body.arrayBuffer());
  expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(large.digest);
  const full = await listed();
  expect(full.digests).not.toContain(large.digest);
  expect(full.digests).toEqual(expect.arrayContaining([...digestsOf(pinned), layer!.digest]));
  expect(full.usage.bytes).toBeLessThanOrEqual(QUOTA);
  expect(sumOf(await agent.metrics(), 'shoal_cache_removed_blobs_total', { reason: 'quota' })).toBeGreaterThan(0);
  for (let next = await body.next(); next.done !== true; next = await body.next()) hash.update(next.value);
  expect(`sha256:${hash.digest('hex')}`).toBe(layer!.digest);

  // Only what is on the disk is advertised; an agent that is killed before it said so could not any more.
  await expect.poll(trackedBlobs, { timeout: 10_000 }).toBe((await listed()).blobs.length);
  await agent.kill('SIGKILL');
  await agent.restart();
  const restarted = await listed();
  expect(restarted.pins).toEqual([{ name: referenceOf(pinned), blobs: 4, bytes: expect.any(Number), missing: 0 }]);
  for (let index = 5; index < 10; index++) await pull(0, await newImage(`other-${index}`, 8 * MiB));
  expect((await listed()).digests).toEqual(expect.arrayContaining(digestsOf(pinned)));
  origin.resetStats();
  await pull(0, pinned);
  expect(origin.stats().blobBytes).toBe(0);
  expect(sumOf(await agent.metrics(), 'shoal_cache_lookups_total', { result: 'hit' })).toBeGreaterThan(0);

  const before = await listed();
  expect((await cache('prune', '--keep', '20MiB', '--dry-run')).out).toMatch(/^Would remove \d+ blobs/m);
  expect((await listed()).digests.sort()).toEqual(before.digests.sort());
  await cache('prune', '--keep', '20MiB');
  expect((await listed()).usage.bytes).toBeLessThanOrEqual(20 * MiB);
  const { out } = await cache('prune');
  expect(out).toMatch(/^Now: 4 blobs; 8\.4 MB of 50\.3 MB used, 8\.4 MB of it pinned\.$/m);
  expect((await listed()).digests.sort()).toEqual(digestsOf(pinned).sort());

  // Other nodes are told, too.
  const refused = await cache('rm', referenceOf(pinned));
  expect([refused.code, refused.err]).toEqual([
    1,
    'shoal cache rm: registry.test/org/pinned:v1 is pinned; unpin it, or add --force\n',
  ]);
  await expect.poll(trackedBlobs, { timeout: 10_000 }).toBe(4);
  expect((await cache('rm', referenceOf(pinned), '--force')).out).toBe('Removed 4 blobs, 8.4 MB.\n');
  await expect.poll(trackedBlobs, { timeout: 10_000 }).toBe(0);
  expect(await listed()).toMatchObject({ blobs: [], pins: [] });
  for (const kind of await readdir(join(agent.dataFolder, 'blobs'))) {
    expect(await readdir(join(agent.dataFolder, 'blobs', kind))).toEqual([]);
  }
  origin.resetStats();
  await pull(1, pinned);
  expect(origin.stats().blobBytes).toBe(pinned.totalBytes);
}, 60_000);

test('what was damaged on the disk is found, told and dropped, and pulled again when it is asked for', async () => {
  const agent = cluster.agents[0]!;
  const image = await newImage('damaged', 3 * MiB, 2 * MiB);
  await pull(0, image);
  expect(await cache('verify')).toMatchObject({
    code: 0,
    out: expect.stringContaining('4 blobs read back, 5.2 MB: 0 damaged.'),
  });
  const { digest } = image.layers[0]!;
  const file = await open(
    join(agent.dataFolder, 'blobs', 'sha256', `${digest.slice('sha256:'.length)}@${REGISTRY}`),
    'r+',
  );
  await file.write(Buffer.from('damage'), 0, 6, 2 * MiB);
  await file.close();
  const admin = new URL(agent.adminUrl).host;
  const found = await runShoal('cache', 'verify', '--admin', admin);
  expect(found).toMatchObject({
    code: 1,
    stdout: `damaged  ${REGISTRY}/${digest}  3.1 MB\n4 blobs read back, 5.2 MB: 1 damaged.\n`,
    stderr: 'shoal cache verify: 1 blob was damaged and dropped; what is asked for again is pulled again\n',
  });
  expect((await listed()).digests).not.toContain(digest);
  expect(sumOf(await agent.metrics(), 'shoal_cache_removed_blobs_total', { reason: 'damaged' })).toBe(1);
  await pull(0, image);
  expect(await cache('verify')).toMatchObject({ code: 0 });
});

test('a blob that nobody reads for its time goes by itself', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'shoal-cache-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const alone = await startCluster({
    nodes: 1,
    folder,
    tracker: false,
    registries: { [REGISTRY]: origin.url },
    agentArguments: () => ['--cache-ttl', '2s'],
  });
  stack.defer(() => alone.stop());
  const { mirrorUrl } = alone.agents[0]!;
  const image = await newImage('idle', MiB);
  const platform = { os: 'linux', architecture: 'amd64' };
  await pullImage({ mirrorUrl, registry: REGISTRY, repository: image.repository, reference: 'v1', platform });
  const expired = async (): Promise<number> =>
    sumOf(await alone.agents[0]!.metrics(), 'shoal_cache_removed_blobs_total', { reason: 'expired' });
  await expect.poll(expired, { timeout: 15_000 }).toBe(3);
  expect(sumOf(await alone.agents[0]!.metrics(), 'shoal_cache_bytes')).toBe(0);
}, 40_000);
