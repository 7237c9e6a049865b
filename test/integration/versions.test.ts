/** A cluster in the middle of an upgrade: an earlier build and the present one, side by side. */
import { parseMetrics, pullImage, sumOf } from '@shoal/cli';
import { request } from 'undici';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { OldBuild } from '../support/old-build.ts';
import { agentOnFreePorts, presentMain, type RunningBuild, runShoal, startBuild } from '../support/run-shoal.ts';
import { registryName } from '../support/shoal-cluster.ts';

const MiB = 1024 * 1024;
/** How much more than the image the registry may send. */
const MAX_ORIGIN_RATIO = 1.02;
/** Three processes from source, on a machine that may have other things to do. */
const timeout = 180_000;

let old: OldBuild;
let resources: AsyncDisposableStack;
let folder: DaemonFolder;
let origin: FaultOrigin;
let trackerSettings: string[];

beforeAll(async () => {
  old = await OldBuild.checkOut();
});
afterAll(() => old?.[Symbol.asyncDispose]());
beforeEach(async () => {
  resources = new AsyncDisposableStack();
  folder = resources.use(await DaemonFolder.create('versions'));
  origin = resources.use(await FaultOrigin.start());
});
afterEach(() => resources.disposeAsync());

async function startTracker(main: string): Promise<void> {
  const tracker = await startBuild(main, ['tracker', '--listen', '127.0.0.1:0', '--data', folder.join('tracker')]);
  resources.use(tracker.process);
  trackerSettings = ['--tracker', tracker.ready.url!, '--join-token', `@${tracker.ready.joinTokenFile}`];
}

async function startAgent(main: string, name: string): Promise<RunningBuild> {
  const own = ['--name', name, '--registry', `${registryName}=${origin.url}`];
  const agent = await startBuild(main, agentOnFreePorts(folder.join(name), ...own, ...trackerSettings));
  resources.use(agent.process);
  return agent;
}

/** Every blob is compared with its digest. */
async function pull(agent: RunningBuild, { repository, tag }: ImageFixture): Promise<void> {
  const platform = { os: 'linux', architecture: 'amd64' };
  await pullImage({ mirrorUrl: agent.ready.mirror!, registry: registryName, repository, reference: tag, platform });
}

/** Smaller than 32 MiB each: a size that every build cuts into the same pieces. */
async function newImage(seed: string): Promise<ImageFixture> {
  const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [12 * MiB, 5 * MiB, 70_000] });
  origin.add(image);
  return image;
}

async function metric(agent: RunningBuild, name: string, labels: Record<string, string> = {}): Promise<number> {
  const { body } = await request(`${agent.ready.admin}/metrics`);
  return sumOf(parseMetrics(await body.text()), name, labels);
}

const fromPeers = (agent: RunningBuild): Promise<number> =>
  metric(agent, 'shoal_bytes_total', { source: 'peer', direction: 'in' });

async function meet(...agents: RunningBuild[]): Promise<void> {
  for (const agent of agents) {
    await expect.poll(() => metric(agent, 'shoal_peers'), { timeout: 30_000 }).toBe(agents.length - 1);
  }
}

/** Each pulls an image that the other one has read: all of it comes from there, and the registry sends both once. */
async function tradeBothWays(one: RunningBuild, other: RunningBuild): Promise<void> {
  await meet(one, other);
  let total = 0;
  for (const [first, second] of [
    [one, other],
    [other, one],
  ] as const) {
    const image = await newImage(`by-${first.ready.peerId?.slice(-8).toLowerCase()}`);
    await pull(first, image);
    const before = await fromPeers(second);
    await pull(second, image);
    total += image.totalBytes;
    expect((await fromPeers(second)) - before).toBeGreaterThanOrEqual(image.totalBytes);
  }
  expect(origin.stats().blobBytes).toBeLessThanOrEqual(MAX_ORIGIN_RATIO * total);
}

test('an old agent and a new one trade under a new tracker, and at the same time read an image once', {
  timeout,
}, async () => {
  await startTracker(presentMain);
  const [before, now] = await Promise.all([startAgent(old.main, 'old'), startAgent(presentMain, 'new')]);
  await tradeBothWays(before, now);
  origin.resetStats();
  const image = await newImage('together');
  await Promise.all([pull(before, image), pull(now, image)]);
  expect(origin.stats().blobBytes).toBeLessThanOrEqual(MAX_ORIGIN_RATIO * image.totalBytes);

  // What the old one does not know it says, and the two go on.
  const check = await request(`${now.ready.admin}/v1/check`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(await check.body.json()).toMatchObject({ peers: { dialledBack: [{ outcome: 'unsupported', tried: [] }] } });
  await meet(before, now);
});

test('an old agent and a new one trade under an old tracker', { timeout }, async () => {
  await startTracker(old.main);
  const [before, now] = await Promise.all([startAgent(old.main, 'old'), startAgent(presentMain, 'new')]);
  await tradeBothWays(before, now);
});

test('agents without a common version pull from the registry, and say who speaks what', { timeout }, async () => {
  await using other = await OldBuild.checkOut();
  await other.speak('shoal/2');
  await startTracker(presentMain);
  const [before, now] = await Promise.all([startAgent(other.main, 'old'), startAgent(presentMain, 'new')]);
  const image = await newImage('apart');
  await Promise.all([pull(before, image), pull(now, image)]);
  expect(await fromPeers(now)).toBe(0);
  await expect.poll(() => metric(now, 'shoal_peer_version_mismatches_total'), { timeout: 30_000 }).toBeGreaterThan(0);
  expect(now.process.log).toContain('speaks no version of the protocol');
  const at = ['--admin', new URL(now.ready.admin!).host];
  const status = await runShoal('status', ...at);
  expect(status.stdout).toMatch(/version +(an agent at 127\.0\.0\.1|member 12D3\w+ at 127\.0\.0\.1) speaks/);
  const doctor = await runShoal('doctor', '--json', '--only', 'peers', ...at);
  const [peers] = JSON.parse(doctor.stdout).checks;
  expect(peers.detail).toContain('this agent speaks shoal/3');
  expect(peers.todo).toContain('update the older');
});

test('without the history of this repository it is said what is missing, and how to get it', async () => {
  await expect(OldBuild.checkOut('0'.repeat(40))).rejects.toThrow(/commit 0{40} .* is needed.*git fetch --unshallow/);
});
