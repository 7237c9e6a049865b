/** What running processes tell is what the page, the alerts and the dashboard say of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClusterAgent, startCluster, sumOf } from '@shoal/cli';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { FaultOrigin, syntheticContent } from '../support/fault-origin.ts';
import { alertRules, metricsPage, metricsPageFile, repositoryFolder } from '../support/metrics-page.ts';

const SIZE = 2 * 1024 * 1024;
const resources = new AsyncDisposableStack();
/** Both scrapes, of an agent that got a blob from its neighbour and of the tracker. */
let pages: { agent: string; tracker: string };

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-metrics-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const origin = resources.use(await FaultOrigin.start());
  const content = await syntheticContent('metrics', SIZE);
  origin.addBlob('org/app', content);
  const cluster = await startCluster({ nodes: 2, folder, registries: { 'registry.test': origin.url } });
  resources.defer(() => cluster.stop());
  const pull = async (node: number): Promise<void> => {
    const answer = await request(`${cluster.agents[node]!.mirrorUrl}/v2/registry.test/org/app/blobs/${content.digest}`);
    expect((await answer.body.arrayBuffer()).byteLength).toBe(SIZE);
    // The last bytes leave before the blob is committed.
    await vi.waitFor(async () => expect(await openPulls(cluster.agents[node]!)).toBe(0), 5_000);
  };
  await pull(0);
  await pull(1);
  await pull(1);
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  resources.defer(() => dispatcher.close());
  pages = {
    agent: await (await request(`${cluster.agents[1]!.adminUrl}/metrics`)).body.text(),
    tracker: await (await request(`${cluster.tracker!.url}/metrics`, { dispatcher })).body.text(),
  };
});
afterAll(() => resources.disposeAsync());

async function openPulls(agent: ClusterAgent): Promise<number> {
  return sumOf(await agent.metrics(), 'shoal_pulls_open', {});
}

/** Everything that can be asked for by name. */
function namesIn(page: string): Set<string> {
  const names = new Set<string>();
  for (const [, name = '', type] of page.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    names.add(name);
    if (type === 'histogram') for (const part of ['_bucket', '_sum', '_count']) names.add(name + part);
  }
  return names;
}

function namesUsed(expressions: readonly string[]): string[] {
  const names = expressions.flatMap((text) => text.match(/\b(?:shoal|process|nodejs)_[a-z0-9_]+/g) ?? []);
  return [...new Set(names)];
}

test('docs/metrics.md is what agent and tracker register; if not: npx -y pnpm@12.21.0 docs:metrics', async () => {
  expect(await readFile(metricsPageFile, 'utf8')).toBe(await metricsPage());
});

test('every metric that the alerts name is told by an agent or a tracker', async () => {
  const told = new Set([...namesIn(pages.agent), ...namesIn(pages.tracker)]);
  const used = namesUsed((await alertRules()).map(({ expr }) => expr));
  expect(used.length).toBeGreaterThan(10);
  expect(used.filter((name) => !told.has(name))).toEqual([]);
});

test('every metric that the dashboard names is told, and every panel has a place of its own', async () => {
  const told = new Set([...namesIn(pages.agent), ...namesIn(pages.tracker)]);
  const text = await readFile(join(repositoryFolder, 'deploy/grafana/shoal.json'), 'utf8');
  const { panels } = JSON.parse(text) as { panels: Panel[] };
  const used = namesUsed(panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)));
  expect(used.length).toBeGreaterThan(30);
  expect(used.filter((name) => !told.has(name))).toEqual([]);
  const places = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
  );
  expect(new Set(places).size).toBe(places.length);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
});

interface Panel {
  id: number;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}

test('an agent tells where its bytes came from, how its clients were served, and of its calls', () => {
  const lines = new Set(pages.agent.split('\n'));
  const expected = [
    `shoal_bytes_total{source="peer",direction="in"} ${SIZE}`,
    `shoal_bytes_total{source="store",direction="in"} ${SIZE}`,
    `shoal_bytes_total{source="client",direction="out"} ${2 * SIZE}`,
    `shoal_saved_bytes_total ${2 * SIZE}`,
    'shoal_pulls_total{result="done",source="peers"} 1',
    'shoal_cache_lookups_total{result="miss"} 1',
    'shoal_cache_lookups_total{result="hit"} 1',
    'shoal_first_byte_seconds_count{kind="blob"} 2',
    'shoal_tracker_calls_total{call="/v1/join",result="ok"} 1',
    'shoal_tracker_reachable 1',
    'shoal_members 2',
    'shoal_piece_memory_bytes 0',
    'shoal_uploads_waiting 0',
    'shoal_draining 0',
  ];
  expect(expected.filter((sample) => !lines.has(sample))).toEqual([]);
  expect(pages.agent).toMatch(/^shoal_disk_free_bytes [1-9]\d+$/m);
  expect(pages.tracker).toMatch(/^shoal_tracker_connections [1-9]$/m);
  expect(pages.tracker).toMatch(/^shoal_tracker_agents 2$/m);
  expect(pages.tracker).toMatch(/^shoal_tracker_request_duration_seconds_count\{call="\/v1\/join",status="200"\} 2$/m);
});
