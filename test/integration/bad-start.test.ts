/**
 * Starts that cannot succeed: each ends with one line that says what is wrong and what to do, exit code 1 (failed) or 2
 * (wrong usage), and takes nothing from the data folder.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createLogger } from '@shoal/cli';
import { startTracker, type Tracker } from '@shoal/tracker';
import { formatJoinToken, parseJoinToken } from '@shoal/wire';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import type { CommandResult } from '../support/daemon/process.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { agentOnFreePorts, runShoal } from '../support/run-shoal.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';

const HOUR_MS = 3_600_000;
const resources = new AsyncDisposableStack();
const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);
let folder: DaemonFolder;
let cluster: ShoalCluster;
let origin: FaultOrigin;
let image: ImageFixture;
/** Of an agent that holds an image and is not running. */
let dataFolder: string;
let held: string;

beforeAll(async () => {
  folder = resources.use(await DaemonFolder.create('start'));
  origin = resources.use(await FaultOrigin.start());
  cluster = resources.use(await ShoalCluster.start({ origin, tracker: false }));
  image = await buildImage({ seed: 'bad-start', layers: [2_000_000, 300_000] });
  origin.add(image);
  await cluster.pull(0, image);
  await cluster.agent(0).kill('SIGTERM');
  ({ dataFolder } = cluster.agent(0));
  held = await contentOf(dataFolder);
});
afterEach(async () => expect(await contentOf(dataFolder)).toBe(held));
afterAll(async () => {
  // Whatever was tried on its folder, the agent still has its image.
  await cluster.agent(0).restart();
  origin.resetStats();
  await cluster.pull(0, image);
  expect(origin.stats().blobBytes).toBe(0);
  await resources.disposeAsync();
});

/** The identity and every blob, hashed: what must outlive any start. */
async function contentOf(data: string): Promise<string> {
  const folder = join('blobs', 'sha256');
  const names = (await readdir(join(data, folder))).sort();
  const paths = [...names.map((name) => join(folder, name)), ...(await identityFiles(data))];
  const hashes = paths.map(async (path) => `${path} ${hashOf(await readFile(join(data, path)))}`);
  expect(names.length).toBeGreaterThan(0);
  return (await Promise.all(hashes)).join('\n');
}

const identityFiles = async (data: string) => (await readdir(data)).filter((name) => name.startsWith('identity'));
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function expectOneLine(ended: CommandResult, code: 1 | 2, ...words: (string | RegExp)[]): void {
  expect(ended.stderr.trimEnd().split('\n'), ended.stderr).toHaveLength(1);
  expect(ended.stderr).toMatch(/^shoal (agent|tracker): /);
  for (const word of words) expect(ended.stderr).toMatch(word);
  expect(ended.stdout).toBe('');
  expect(ended.code).toBe(code);
}

async function occupiedPort(): Promise<{ port: number; server: Server }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, server };
}

async function track(clock: () => number): Promise<Tracker> {
  const listen = { host: '127.0.0.1', port: 0 };
  const dataDir = folder.join(`tracker-${clock()}`);
  const tracker = await startTracker({ listen, dataDir }, { logger, clock, random: Math.random });
  resources.defer(() => tracker.close());
  return tracker;
}

test('an unknown flag', async () => {
  expectOneLine(
    await runShoal('agent', '--data', dataFolder, '--cach-size', '1GiB'),
    2,
    '--cach-size',
    '--cache-size',
    '--help',
  );
});

test.each([
  ['that is no YAML', 'zone: [a, b\nmirror: "', /yaml|line/i],
  ['with a key nobody knows', 'zoen: a\n', 'zoen'],
  ['with a wrong value', 'cache-size: lots\n', 'cache-size'],
])('a configuration file %s', async (_what, text, word) => {
  const file = await folder.write('bad.yaml', text);
  expectOneLine(await runShoal('agent', '--data', dataFolder, '--config', file), 2, file, word);
});

test('a port in use, for each of the three', async () => {
  const { port, server } = await occupiedPort();
  try {
    const address = `127.0.0.1:${port}`;
    const uses = [
      ['--mirror', address],
      ['--admin', address],
      ['--peer-listen', `/ip4/127.0.0.1/tcp/${port}`],
    ] as const;
    for (const [flag, value] of uses) {
      expectOneLine(await runShoal(...agentOnFreePorts(dataFolder, flag, value)), 1, String(port), 'in use', flag);
    }
    const tracker = await runShoal('tracker', '--listen', address, '--data', folder.join('tracker-in-use'));
    expectOneLine(tracker, 1, String(port), 'in use', '--listen');
  } finally {
    server.close();
  }
});

test('a data folder that is a file, lies below one, or is in use', async () => {
  const file = await folder.write('a-file', 'mine');
  for (const data of [file, join(file, 'below')]) {
    expectOneLine(await runShoal(...agentOnFreePorts(data)), 1, data, '--data');
  }
  expect(await readFile(file, 'utf8')).toBe('mine');
  await cluster.agent(0).restart();
  try {
    expectOneLine(await runShoal(...agentOnFreePorts(dataFolder)), 1, dataFolder, 'in use', '--data');
    await cluster.pull(0, image);
  } finally {
    await cluster.agent(0).kill('SIGTERM');
  }
});

test('a join token that is none, of another secret, or of another tracker', async () => {
  const [tracker, other] = [await track(Date.now), await track(() => Date.now() + 1)];
  const { pin } = parseJoinToken(tracker.joinToken)!;
  const start = (token: string) =>
    runShoal(...agentOnFreePorts(dataFolder, '--tracker', tracker.url, '--join-token', token));
  expectOneLine(await start('shoal1.nonsense'), 2, 'join-token', 'data folder');
  expectOneLine(
    await start(formatJoinToken({ pin, secret: 'A'.repeat(43) })),
    1,
    tracker.url,
    'join token',
    '--join-token',
  );
  expectOneLine(await start(other.joinToken), 1, tracker.url, 'join token', '--tracker');
});

test.each([
  ['ahead of', -HOUR_MS],
  ['behind', HOUR_MS],
])("a clock an hour %s the tracker's", async (_where, trackerAheadMs) => {
  const tracker = await track(() => Date.now() + trackerAheadMs);
  const flags = ['--tracker', tracker.url, '--join-token', tracker.joinToken];
  expectOneLine(await runShoal(...agentOnFreePorts(dataFolder, ...flags)), 1, /clock/i, 'timedatectl');
});

test('a damaged identity is told, and is not replaced', async () => {
  const [name] = await identityFiles(dataFolder);
  const path = join(dataFolder, name!);
  const whole = await readFile(path);
  await writeFile(path, whole.subarray(0, 20));
  try {
    expectOneLine(await runShoal(...agentOnFreePorts(dataFolder)), 1, path, 'no blob is lost');
    expect((await readFile(path)).equals(whole.subarray(0, 20))).toBe(true);
  } finally {
    await writeFile(path, whole);
  }
});
