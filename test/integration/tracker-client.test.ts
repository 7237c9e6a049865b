/** The agent's way to the tracker against the real tracker, on loopback, also while it is gone and when it comes back. */
import { hash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createTrackerClient,
  type Membership,
  type StartableTrackerClient,
  type TrackerClientDependencies,
  type TrackerClientOptions,
} from '@shoal/agent';
import { type BlobId, blobIdOf, type Digest } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import { startTracker, type Tracker, type TrackerDependencies, type TrackerOptions } from '@shoal/tracker';
import { ed25519KeyOfPeerId, formatJoinToken, type PeerRecord, parseJoinToken } from '@shoal/wire';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { newIdentity } from '../support/member-identity.ts';

const silent = () => undefined;
const logger = { debug: silent, info: silent, warn: silent, error: silent } as unknown as TrackerDependencies['logger'];
const digestOf = (text: string): Digest => `sha256:${hash('sha256', text)}` as Digest;
const blobOf = (text: string): BlobId => blobIdOf('docker.io', digestOf(text));
const layer = blobOf('layer');

let dataDir: string;
let closing: { close(): Promise<void> }[];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-tracker-client-'));
  closing = [];
});

afterEach(async () => {
  for (const each of closing.reverse()) await each.close();
  await rm(dataDir, { recursive: true });
});

async function track(options: Partial<TrackerOptions> = {}, dependencies: Partial<TrackerDependencies> = {}) {
  const tracker = await startTracker(
    { listen: { host: '127.0.0.1', port: 0 }, dataDir, ...options },
    { logger, clock: Date.now, random: seededRandom(1), ...dependencies },
  );
  closing.push(tracker);
  return tracker;
}

function clientOf(
  tracker: Pick<Tracker, 'url' | 'joinToken'>,
  options: Partial<TrackerClientOptions> = {},
  dependencies: Partial<TrackerClientDependencies> = {},
): StartableTrackerClient & { peerId: string } {
  const identity = dependencies.identity ?? newIdentity();
  const client = createTrackerClient(
    { trackers: [tracker.url], joinToken: tracker.joinToken, zone: 'a', ...options },
    { identity, addresses: () => ['/ip4/127.0.0.1/tcp/7301'], logger, clock: Date.now, ...dependencies },
  );
  closing.push(client);
  return Object.assign(client, { peerId: identity.peerId });
}

async function joined(...args: Parameters<typeof clientOf>): Promise<ReturnType<typeof clientOf>> {
  const client = clientOf(...args);
  expect(await client.start()).toBe('joined');
  return client;
}

const soon = { timeout: 5_000, interval: 20 };

test('joining gives a certificate for this PeerId, and it is handed over to be kept', async () => {
  const kept: Membership[] = [];
  const client = await joined(await track(), {}, { onMembership: (membership) => kept.push(membership) });
  const [, claims = ''] = (client.membership()?.certificate ?? '').split('.');
  expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
    sub: client.peerId,
    aud: 'peers',
    zone: 'a',
  });
  expect(Buffer.from(client.membership()?.clusterKey ?? '', 'base64url')).toHaveLength(32);
  expect(kept).toEqual([client.membership()]);
});

test('who wants a blob is introduced to who holds it and to who else wants it', async () => {
  const tracker = await track();
  const holder = await joined(tracker);
  holder.have([layer]);
  const reader = await joined(tracker);
  await vi.waitFor(async () => {
    expect((await reader.want([layer]))?.get(layer)).toEqual([
      { peerId: holder.peerId, addresses: ['/ip4/127.0.0.1/tcp/7301'], zone: 'a' },
    ]);
  }, soon);
  const third = await joined(tracker);
  const peers = (await third.want([layer]))?.get(layer) ?? [];
  expect(peers.map((peer) => peer.peerId)).toEqual(expect.arrayContaining([holder.peerId, reader.peerId]));
});

test('repeated announcements bring new peers without being asked', async () => {
  const tracker = await track();
  const heard: PeerRecord[] = [];
  const first = await joined(tracker, { announceEveryMs: 300 }, { onPeers: (_blob, peers) => heard.push(...peers) });
  await first.want([layer]);
  const second = await joined(tracker);
  await second.want([layer]);
  await vi.waitFor(() => expect(heard.map((peer) => peer.peerId)).toContain(second.peerId), soon);
});

test('who knows few members is introduced to some before it wants anything, and who knows enough is not', async () => {
  const tracker = await track();
  const first = await joined(tracker);
  const met: PeerRecord[] = [];
  await joined(tracker, {}, { acquaintancesWanted: () => 8, onAcquaintances: (peers) => met.push(...peers) });
  expect(met).toEqual([{ peerId: first.peerId, addresses: ['/ip4/127.0.0.1/tcp/7301'], zone: 'a' }]);
  const unasked: PeerRecord[] = [];
  await joined(tracker, {}, { acquaintancesWanted: () => -3, onAcquaintances: (peers) => unasked.push(...peers) });
  expect(unasked).toEqual([]);
});

test('one reads from the origin, the other is sent to it, and after it is done to its copy', async () => {
  const tracker = await track();
  const [one, two] = [await joined(tracker), await joined(tracker)];
  await one.want([layer]);
  const ask = { blob: layer, sizeBytes: 3 * 256 * 1024, starved: false };
  const lease = await one.lease(ask);
  if (lease?.granted !== true) throw new Error('no lease');
  expect([lease.from, lease.to]).toEqual([0, 3]);
  expect(await two.lease(ask)).toMatchObject({ granted: false, peers: [{ peerId: one.peerId }] });
  expect(await one.renew(lease.leaseId, { bytes: 1, next: 0 })).toEqual({ held: true, to: 3 });
  expect(await two.renew(lease.leaseId, { bytes: 2, next: 0 })).toMatchObject({ held: false });
  one.have([layer]);
  one.release(lease.leaseId, { how: 'done', next: 3 });
  await vi.waitFor(async () => {
    expect(await two.lease(ask)).toMatchObject({ granted: false, peers: [{ peerId: one.peerId }] });
  }, soon);
  // What was just read may yet come.
  expect(await two.lease({ ...ask, starved: true })).toMatchObject({ granted: false });
  await vi.waitFor(async () => expect(await two.lease({ ...ask, starved: true })).toMatchObject({ granted: true }), {
    timeout: 10_000,
    interval: 200,
  });
});

test('a blob that is withdrawn or not wanted any more is not advertised', async () => {
  const tracker = await track();
  const [one, two] = [await joined(tracker), await joined(tracker)];
  const other = blobOf('other');
  one.have([layer]);
  await one.want([other]);
  await vi.waitFor(async () => expect((await two.want([layer]))?.get(layer)).toHaveLength(1), soon);
  one.withdraw([layer]);
  one.unwant([other]);
  await vi.waitFor(async () => {
    const peers = await two.want([layer, other]);
    expect([peers?.get(layer), peers?.get(other)]).toEqual([[], []]);
  }, soon);
});

test('an agent that closes is gone at once', async () => {
  const tracker = await track();
  const [one, two] = [await joined(tracker), await joined(tracker)];
  await one.want([layer]);
  expect((await two.want([layer]))?.get(layer)).toHaveLength(1);
  await one.close();
  expect((await two.want([layer]))?.get(layer)).toHaveLength(0);
});

const reference = { registry: 'docker.io', repository: 'library/busybox', reference: 'latest', scope: 'public' };
const found = { digest: digestOf('manifest'), mediaType: 'application/json', sizeBytes: 7 };

test('a reference reported by one is found by another with the same rights, and what nobody reported is not', async () => {
  const tracker = await track();
  const [one, two] = [await joined(tracker), await joined(tracker)];
  const record = { ...reference, ...found, resolvedAtMs: Date.now() - 5 };
  expect(await two.findReference(reference)).toBeUndefined();
  expect(two.reachable()).toBe(true);
  const lookup = { ...reference, accept: 'a', maxAgeMs: 0, waitMs: 0 };
  expect(await one.lookUpReference(lookup)).toEqual({ turn: 'ask' });
  one.reportReference({ ...record, said: 'found', accept: 'a' });
  await vi.waitFor(async () => expect(await two.findReference(reference)).toEqual(record), soon);
  expect(await two.findReference({ ...reference, scope: 'other' })).toBeUndefined();
});

test('of agents that look up one reference at once one is to ask the origin, and all get what it reports', async () => {
  const tracker = await track();
  const clients = await Promise.all(Array.from({ length: 5 }, () => joined(tracker)));
  const lookup = { ...reference, accept: 'a', maxAgeMs: 30_000, waitMs: 1_500 };
  const turns = clients.map((client) =>
    client.lookUpReference(lookup).then((turn) => {
      if (turn?.turn !== 'ask') return turn;
      client.reportReference({ ...reference, ...found, accept: 'a', said: 'found', resolvedAtMs: Date.now() });
      return 'asked';
    }),
  );
  const answers = await Promise.all(turns);
  expect(answers.filter((answer) => answer === 'asked')).toHaveLength(1);
  expect(answers.filter((answer) => answer !== 'asked')).toEqual(
    Array(4).fill({ turn: 'told', ...found, ageMs: expect.any(Number) }),
  );
});

test('lookups that wait hold up neither other calls nor, for long, each other, and end with the tracker', async () => {
  const tracker = await track();
  const [asker, waiter] = [await joined(tracker), await joined(tracker)];
  const lookups = Array.from({ length: 12 }, (_, index) => {
    return { ...reference, reference: `v${index}`, accept: 'a', maxAgeMs: 30_000, waitMs: 1_500 };
  });
  for (const lookup of lookups) expect(await asker.lookUpReference(lookup)).toEqual({ turn: 'ask' });
  const waiting = lookups.map((lookup) => waiter.lookUpReference(lookup));
  const longest = Promise.race(waiting.slice(0, 3)).then(() => 'a lookup that waits');
  expect(await Promise.race([longest, waiter.want([layer])])).toBeInstanceOf(Map);
  for (const turn of await Promise.all(waiting.slice(3))) {
    expect(turn).toEqual({ turn: 'wait', retryAfterMs: expect.any(Number) });
  }
  await tracker.close();
  closing.splice(closing.indexOf(tracker), 1);
  for (const turn of await Promise.all(waiting.slice(0, 3))) expect(turn?.turn ?? 'wait').toBe('wait');
});

test('another secret, or no token at all, is fatal', async () => {
  const tracker = await track();
  const { pin } = parseJoinToken(tracker.joinToken) ?? { pin: '' };
  const joinToken = formatJoinToken({ pin, secret: 'A'.repeat(43) });
  expect(await clientOf(tracker, { joinToken }).start()).toMatchObject({ fatal: 'WRONG_JOIN_TOKEN' });
  expect(await clientOf(tracker, { joinToken: 'x' }).start()).toMatchObject({ fatal: 'WRONG_JOIN_TOKEN' });
});

test('another TLS key is fatal, and the secret is not sent to it', async () => {
  const tracker = await track();
  const { secret } = parseJoinToken(tracker.joinToken) ?? { secret: '' };
  const client = clientOf(tracker, { joinToken: formatJoinToken({ pin: 'A'.repeat(43), secret }) });
  expect(await client.start()).toMatchObject({ fatal: 'WRONG_PIN' });
  expect(client.membership()).toBeUndefined();
});

test('clocks that are far apart are fatal, and the message gives both', async () => {
  const tracker = await track({}, { clock: () => Date.parse('2030-01-01T00:00:00Z') });
  const outcome = await clientOf(tracker, {}, { clock: () => Date.parse('2030-01-01T00:06:00Z') }).start();
  expect(outcome).toMatchObject({ fatal: 'CLOCK_SKEW' });
  expect(JSON.stringify(outcome)).toMatch(/2030-01-01T00:06:00.*2030-01-01T00:00:00/);
});

test('a barred member loses its session and cannot join again, not even after a restart', async () => {
  const tracker = await track();
  const identity = newIdentity();
  const client = await joined(tracker, {}, { identity });
  await tracker.bar(client.peerId, 'test');
  expect(await client.want([layer])).toBeUndefined();
  await tracker.close();
  closing.splice(closing.indexOf(tracker), 1);
  expect(await clientOf(await track(), {}, { identity }).start()).toMatchObject({ fatal: 'BARRED' });
});

test('a PeerId that does not belong to the signing key is refused', async () => {
  const tracker = await track();
  const { peerId } = newIdentity();
  expect(ed25519KeyOfPeerId(peerId)).toBeDefined();
  const client = clientOf(tracker, {}, { identity: { peerId, sign: newIdentity().sign } });
  expect(await client.start()).toBe('unreachable');
  expect(client.membership()).toBeUndefined();
});

test('without a tracker every call gives nothing, and a membership kept from before is used', async () => {
  const saved = { certificate: 'x', clusterKey: 'y', expiresAtMs: Date.now() + 60_000 };
  const token = formatJoinToken({ pin: 'A'.repeat(43), secret: 'A'.repeat(43) });
  const client = clientOf({ url: 'https://127.0.0.1:1', joinToken: token }, {}, { savedMembership: saved });
  expect(await client.start()).toBe('unreachable');
  expect(client.membership()).toEqual(saved);
  expect(await client.want([layer])).toBeUndefined();
  expect(await client.lease({ blob: layer, sizeBytes: 1, starved: false })).toBeUndefined();
  expect(await client.renew('x', { bytes: 1, next: 0 })).toBeUndefined();
});

test('a tracker that accepts and never answers holds up one call for its deadline, and no further one', async () => {
  const tracker = await track();
  const port = Number(new URL(tracker.url).port);
  const client = await joined(tracker, { deadlineMs: 300 });
  await tracker.close();
  closing.splice(closing.indexOf(tracker), 1);
  const sockets: Socket[] = [];
  const mute = createServer((socket) => sockets.push(socket.on('error', silent))).listen(port, '127.0.0.1');
  closing.unshift({
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => mute.close(resolve));
    },
  });
  const longAfter = new Promise((resolve) => setTimeout(resolve, 2_000, 'longer than the deadline'));
  expect(await Promise.race([longAfter, client.want([layer])])).toBeUndefined();
  await vi.waitFor(() => expect(client.reachable()).toBe(false), soon);
  // It gives up before a timer of no time at all fires, so it did not touch the network.
  const timer = new Promise((resolve) => setTimeout(resolve, 0, 'timer'));
  expect(await Promise.race([timer, client.want([layer])])).toBeUndefined();
});

test('after a restart the tracker knows everything again, without anybody asking', async () => {
  const tracker = await track();
  const port = Number(new URL(tracker.url).port);
  const holder = await joined(tracker);
  const many = Array.from({ length: 2_500 }, (_, index) => blobOf(`blob ${index}`));
  holder.have(many);
  const reader = await joined(tracker);
  const first = many[0] as BlobId;
  await vi.waitFor(async () => expect((await reader.want([first]))?.get(first)).toHaveLength(1), soon);
  await tracker.close();
  closing.splice(closing.indexOf(tracker), 1);
  await vi.waitFor(() => expect([holder.reachable(), reader.reachable()]).toEqual([false, false]), soon);
  const again = await track({ listen: { host: '127.0.0.1', port } });
  expect(again.joinToken).toBe(tracker.joinToken);
  await vi.waitFor(async () => {
    const peers = await reader.want(many.slice(0, 1_000).concat(many.slice(-1_000)));
    expect([...(peers?.values() ?? [])].filter((each) => each.length === 1)).toHaveLength(2_000);
  }, soon);
});

test('the next address is used when one fails', async () => {
  const tracker = await track();
  const client = await joined(tracker, { trackers: ['https://127.0.0.1:1', tracker.url] });
  expect(await client.want([layer])).toBeDefined();
});

test('what one of several trackers did not answer, the next one does; nothing is waited for when all are away', async () => {
  const [first, second] = [await track(), await track({ dataDir: join(dataDir, 'second'), identityDir: dataDir })];
  const client = await joined(first, { trackers: [first.url, second.url] });
  await client.want([layer]);
  await first.close();
  const ask = { blob: layer, sizeBytes: 3 * 256 * 1024, starved: false };
  // Several calls at once, as pulls make them: none of them is told that there is no tracker.
  const [one, other] = await Promise.all([client.lease(ask), client.lease(ask), client.findReference(reference)]);
  // Each has a connection of its own: whichever comes first gets the lease.
  expect([one?.granted, other?.granted].toSorted()).toEqual([false, true]);
  await vi.waitFor(() => expect(client.reachable()).toBe(true), soon);
  await second.close();
  const startedMs = performance.now();
  expect(await client.lease(ask)).toBeUndefined();
  expect(performance.now() - startedMs).toBeLessThan(6_000);
  const againMs = performance.now();
  expect(await client.lease(ask)).toBeUndefined();
  expect(performance.now() - againMs).toBeLessThan(100);
});

test('a session that runs out is renewed before it does', async () => {
  const certificates = new Set<string>();
  const tracker = await track({ certificateLifetimeMs: 4_000 });
  const onMembership = (membership: Membership): unknown => certificates.add(membership.certificate);
  const client = await joined(tracker, { announceEveryMs: 300 }, { onMembership });
  await vi.waitFor(() => expect(certificates.size).toBeGreaterThan(1), { timeout: 10_000, interval: 50 });
  expect(client.reachable()).toBe(true);
});
