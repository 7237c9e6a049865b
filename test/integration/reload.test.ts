/** SIGHUP to a real agent and a real tracker: what can change does, the rest is told, a broken file changes nothing. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, type ClusterProcess, startCluster } from '@shoal/cli';
import { request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultOrigin, syntheticContent } from '../support/fault-origin.ts';

const MiB = 1024 * 1024;
const SIZE = 4 * MiB;
const resources = new AsyncDisposableStack();
let origin: FaultOrigin;
let cluster: Cluster;
let agentFile: string;
let trackerFile: string;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-reload-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  origin = resources.use(await FaultOrigin.start());
  [agentFile, trackerFile] = [join(folder, 'agent.yaml'), join(folder, 'tracker.yaml')];
  await writeFile(agentFile, 'cache-size: 64MiB\nzone: a\n');
  await writeFile(trackerFile, 'log-level: info\n');
  cluster = await startCluster({
    nodes: 1,
    folder,
    registries: { 'registry.test': origin.url },
    agentArguments: () => ['--config', agentFile],
    trackerArguments: ['--config', trackerFile],
  });
  resources.defer(() => cluster.stop());
});
afterAll(() => resources.disposeAsync());

interface LogLine {
  level: number;
  msg: string;
  room?: string;
}

function linesOf(daemon: ClusterProcess): LogLine[] {
  const lines = daemon.logs().split('\n');
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine);
}

/** What the process says to its file read again: one line. */
async function reload(daemon: ClusterProcess, file: string, text: string): Promise<LogLine> {
  await writeFile(file, text);
  const said = (): LogLine[] => linesOf(daemon).filter(({ msg }) => msg.startsWith('settings '));
  const before = said().length;
  process.kill(daemon.pid!, 'SIGHUP');
  for (const endMs = performance.now() + 5_000; said().length === before; await sleep(20)) {
    if (performance.now() > endMs) throw new Error('nothing was said');
  }
  expect(said()).toHaveLength(before + 1);
  return said().at(-1)!;
}

async function secondsToPull(seed: string): Promise<number> {
  const content = await syntheticContent(seed, SIZE);
  origin.addBlob('org/app', content);
  const startedMs = performance.now();
  const answer = await request(`${cluster.agents[0]!.mirrorUrl}/v2/registry.test/org/app/blobs/${content.digest}`);
  expect((await answer.body.arrayBuffer()).byteLength).toBe(SIZE);
  return (performance.now() - startedMs) / 1000;
}

async function gauge(name: string): Promise<number | undefined> {
  return (await cluster.agents[0]!.metrics()).find((sample) => sample.name === name)?.value;
}

test('rates, cache and log level change in a running agent, and what does not is told', async () => {
  const [agent] = cluster.agents;
  for (const seed of ['one', 'two', 'three', 'four', 'five']) await secondsToPull(seed);
  expect(await gauge('shoal_cache_bytes')).toBe(5 * SIZE);

  const text = 'cache-size: 16MiB\ndownload-rate: 2MiB\nmin-free-disk: 5MiB\nlog-level: debug\nzone: b\n';
  const line = await reload(agent!, agentFile, text);
  expect(line).toMatchObject({
    level: 40,
    msg:
      'settings read again: cache-size 64MiB → 16MiB, min-free-disk 1GiB → 5MiB, download-rate not set → 2MiB, ' +
      'log-level info → debug; only a restart changes zone',
    needRestart: [{ setting: 'zone', from: 'a', to: 'b' }],
  });
  expect(await gauge('shoal_cache_quota_bytes')).toBe(16 * MiB);
  expect(await gauge('shoal_disk_floor_bytes')).toBe(5 * MiB);
  expect(await gauge('shoal_cache_bytes')).toBeLessThanOrEqual(16 * MiB);
  expect(await gauge('shoal_cache_removed_blobs_total')).toBeGreaterThan(0);
  expect(await secondsToPull('slow')).toBeGreaterThan(1.5);
  const fromMirror = (): boolean => linesOf(agent!).some(({ level, room }) => level === 20 && room === 'mirror');
  await expect.poll(fromMirror).toBe(true);

  const back = await reload(agent!, agentFile, 'cache-size: 16MiB\nlog-level: info\nzone: b\nmin-free-disk: 5MiB\n');
  expect(back.msg).toContain('download-rate 2MiB → not set, log-level debug → info; only a restart changes zone');
  expect(await secondsToPull('fast')).toBeLessThan(1.5);
});

test('a broken file changes nothing and is told in one line', async () => {
  const [agent] = cluster.agents;
  const before = await gauge('shoal_cache_quota_bytes');
  const line = await reload(agent!, agentFile, 'cache-size: 1GiB\nupload-rate: fast\nlog-lebel: debug\n');
  expect(line.level).toBe(50);
  expect(line.msg).toMatch(
    /^settings not changed: .*agent\.yaml:3:1: .*log-level.*; .*agent\.yaml:2:14: upload-rate "fast" /,
  );
  expect(await gauge('shoal_cache_quota_bytes')).toBe(before);
});

test('a tracker changes its log level', async () => {
  const tracker = cluster.tracker!;
  expect((await reload(tracker, trackerFile, 'log-level: debug\n')).msg).toBe(
    'settings read again: log-level info → debug',
  );
  expect((await reload(tracker, trackerFile, 'log-level: debug\nlisten: 127.0.0.1:1\n')).msg).toBe(
    'settings read again: nothing changed',
  );
});
