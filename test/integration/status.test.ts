/** `shoal status` of running agents: what it says is what was done. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, startCluster } from '@shoal/cli';
import { request } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AgentStatus } from '../../packages/cli/src/status-command.ts';
import { FaultOrigin, syntheticContent } from '../support/fault-origin.ts';
import { runShoal } from '../support/run-shoal.ts';

const SIZE = 3 * 1024 * 1024 + 5;
const resources = new AsyncDisposableStack();
let cluster: Cluster;
let path: string;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-status-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const origin = resources.use(await FaultOrigin.start());
  const content = await syntheticContent('status', SIZE);
  origin.addBlob('org/app', content);
  path = `/v2/registry.test/org/app/blobs/${content.digest}`;
  cluster = await startCluster({ nodes: 2, folder, registries: { 'registry.test': origin.url } });
  resources.defer(() => cluster.stop());
});
afterAll(() => resources.disposeAsync());

async function statusOf(node: number): Promise<AgentStatus> {
  const admin = new URL(cluster.agents[node]!.adminUrl).host;
  const { code, stdout, stderr } = await runShoal('status', '--json', '--admin', admin);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as AgentStatus;
}

test('tells of members, traffic and the cache', async () => {
  for (const { mirrorUrl } of cluster.agents) {
    const answer = await request(mirrorUrl + path);
    expect([answer.statusCode, (await answer.body.arrayBuffer()).byteLength]).toEqual([200, SIZE]);
  }
  const [first, second] = [await statusOf(0), await statusOf(1)];
  expect(first).toMatchObject({
    peerId: cluster.agents[0]!.peerId,
    mirror: cluster.agents[0]!.mirrorUrl,
    trackerReachable: true,
    cache: { bytes: SIZE, blobs: 1 },
    bytes: { fromOrigin: SIZE, fromPeers: 0, toPeers: SIZE, toClients: SIZE },
    pulls: [],
  });
  expect(first.peers.map(({ peerId }) => peerId)).toEqual([second.peerId]);
  expect(second.bytes).toMatchObject({ fromOrigin: 0, fromPeers: SIZE, toPeers: 0, toClients: SIZE });
  expect(first.upSeconds).toBeGreaterThan(0);
  expect(first.version).toMatch(/^\d+\.\d+\.\d+/);
});

test('a person reads it', async () => {
  const admin = new URL(cluster.agents[1]!.adminUrl).host;
  const { stdout } = await runShoal('status', '--admin', admin);
  expect(stdout).toMatch(/^agent {4}Shoal \d.*, up \d+ s, zone default$/m);
  expect(stdout).toMatch(/^tracker {2}https:\/\/127\.0\.0\.1:\d+ answers$/m);
  expect(stdout).toMatch(/^got {6}3\.1 MB from other agents, 0\.0 MB from registries, 0\.0 MB from its cache$/m);
});
