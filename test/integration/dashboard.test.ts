/** Reports for the tracker's page, between agents and trackers of which one or the other knows nothing of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTrackerClient, type StartableTrackerClient } from '@shoal/agent';
import { createLogger } from '@shoal/cli';
import { seededRandom } from '@shoal/swarm';
import { startTracker, type Tracker } from '@shoal/tracker';
import type { NodeReport } from '@shoal/wire';
import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newIdentity } from '../support/member-identity.ts';

const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);
const soon = { timeout: 15_000, interval: 50 };
let dataDir: string;
let resources: AsyncDisposableStack;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-dashboard-'));
  resources.defer(() => rm(dataDir, { recursive: true }));
});
afterEach(() => resources.disposeAsync());

async function track(hasDashboard: boolean, port = 0): Promise<Tracker> {
  const listen = { host: '127.0.0.1', port };
  const dashboard = hasDashboard ? { dashboard: { listen: { ...listen, port: 0 }, names: [] } } : {};
  const dependencies = { logger, clock: Date.now, random: seededRandom(1) };
  return await startTracker({ listen, dataDir, ...dashboard }, dependencies);
}

/** @param onReport undefined: an agent of a version that knows nothing of reports */
async function joined(
  { url, joinToken }: Tracker,
  onReport: (() => void) | undefined,
): Promise<StartableTrackerClient> {
  const report = (): NodeReport => {
    onReport?.();
    const bytes = { fromOrigin: 1, fromPeers: 2, toPeers: 3, toClients: 4 };
    return { version: '7.7', links: 5, pulls: [], bytes, cache: { bytes: 6, quotaBytes: 7, blobs: 8 } };
  };
  const client = createTrackerClient(
    { trackers: [url], joinToken, zone: 'a', announceEveryMs: 500, minBackoffMs: 100 },
    {
      identity: newIdentity(),
      addresses: () => [],
      ...(onReport === undefined ? {} : { report }),
      ...{ logger, clock: Date.now },
    },
  );
  resources.defer(() => client.close());
  expect(await client.start()).toBe('joined');
  return client;
}

async function members(tracker: Tracker): Promise<{ version?: string; links?: number }[]> {
  const { url = '', token = '' } = tracker.dashboard ?? {};
  const { body } = await request(`${url}/v1/members`, { headers: { authorization: `Bearer ${token}` } });
  return ((await body.json()) as { members: { version?: string; links?: number }[] }).members;
}

test('an agent reports to a tracker that has the page; one that knows nothing of it is a member like any other', async () => {
  const tracker = await track(true);
  resources.defer(() => tracker.close());
  await joined(tracker, () => undefined);
  const old = await joined(tracker, undefined);
  await expect
    .poll(async () => (await members(tracker)).map(({ version }) => version).sort(), soon)
    .toEqual(['7.7', undefined]);
  expect(old.reachable()).toBe(true);
});

test('an agent reports nothing to a tracker without the page, and stops when it comes back without', async () => {
  let reports = 0;
  const first = await track(true);
  const client = await joined(first, () => void reports++);
  await expect.poll(() => reports, soon).toBeGreaterThan(0);
  const port = Number(new URL(first.url).port);
  await first.close();
  const second = await track(false, port);
  resources.defer(() => second.close());
  // Its own first announcement there tells it.
  await expect.poll(() => client.clusterSize() === 1 && client.reachable(), soon).toBe(true);
  const before = reports;
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  expect(reports).toBe(before);
  expect(client.reachable()).toBe(true);
});
