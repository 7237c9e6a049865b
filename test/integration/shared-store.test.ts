/** Trackers in this process on a real Redis: what one leaves to the next, and what each does when the store is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@shoal/cli';
import { blobIdOf, parseDigest } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import { openIdentity, startTracker, type Tracker, type TrackerOptions, TrackerStartError } from '@shoal/tracker';
import { joinProofBytes, parseJoinToken } from '@shoal/wire';
import { Agent, request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { RedisServer } from '../support/daemon/redis-server.ts';
import { newIdentity } from '../support/member-identity.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
const logger = createLogger({ level: 'silent', format: 'json' }, process.stderr);
const blob = blobIdOf('registry.test', parseDigest(`sha256:${'5'.repeat(64)}`)!);
const lease = { blob, sizeBytes: 64 * MiB, starved: false };

describeWith('redis-server', 'trackers that share a store', () => {
  let resources: AsyncDisposableStack;
  let redis: RedisServer;
  let folder: DaemonFolder;
  let dispatcher: Agent;
  let trackers = 0;

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    redis = resources.use(await RedisServer.start({ password: 'test-password' }));
    folder = resources.use(await DaemonFolder.create('shared'));
    await openIdentity(folder.path, logger);
    dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
    resources.defer(() => dispatcher.destroy());
  });
  afterEach(() => resources.disposeAsync());

  async function start(store = redis.url, more: Partial<TrackerOptions> = {}): Promise<Tracker> {
    const dataDir = folder.join(`data-${trackers++}`);
    const options = { ...more, listen: { host: '127.0.0.1', port: 0 }, dataDir, identityDir: folder.path, store };
    const tracker = await startTracker(options, { logger, clock: Date.now, random: seededRandom(1) });
    let isClosed = false;
    const close = tracker.close.bind(tracker);
    tracker.close = async () => {
      if (!isClosed) await close();
      isClosed = true;
    };
    resources.defer(() => tracker.close());
    return tracker;
  }

  interface Reply {
    status: number;
    // biome-ignore lint/suspicious/noExplicitAny: whatever the tracker says
    body: any;
    instance: string;
  }

  async function call(tracker: Tracker, path: string, body: object, session?: string): Promise<Reply> {
    const response = await request(new URL(path, tracker.url), {
      dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(session && { authorization: `Bearer ${session}` }) },
      body: JSON.stringify(body),
    });
    const instance = String(response.headers['shoal-tracker-instance']);
    return { status: response.statusCode, body: await response.body.json(), instance };
  }

  async function get(tracker: Tracker, path: string): Promise<number> {
    const { statusCode, body } = await request(new URL(path, tracker.url), { dispatcher });
    await body.dump();
    return statusCode;
  }

  class Member {
    readonly #identity = newIdentity();
    session = '';
    get peerId(): string {
      return this.#identity.peerId;
    }
    async join(tracker: Tracker): Promise<Reply> {
      const sentAtMs = Date.now();
      const proof = Buffer.from(this.#identity.sign(joinProofBytes(this.peerId, sentAtMs))).toString('base64url');
      const secret = parseJoinToken(tracker.joinToken)?.secret;
      const reply = await call(tracker, '/v1/join', { secret, peerId: this.peerId, sentAtMs, proof, zone: 'a' });
      if (reply.status === 200) this.session = reply.body.session;
      return reply;
    }
    ask(tracker: Tracker, path: string, body: object): Promise<Reply> {
      return call(tracker, path, body, this.session);
    }
    async leased(tracker: Tracker): Promise<{ leaseId: string; from: number; to: number }> {
      for (const endMs = performance.now() + 5_000; performance.now() < endMs; await sleep(100)) {
        const { body } = await this.ask(tracker, '/v1/lease', lease);
        if (body.granted) return body;
      }
      throw new Error('no lease was granted');
    }
  }

  async function member(tracker: Tracker): Promise<Member> {
    const joined = new Member();
    expect((await joined.join(tracker)).status).toBe(200);
    return joined;
  }

  test('one leads; the other gives its answers, and both are ready', async () => {
    const [one, other] = [await start(), await start()];
    expect([one.leads, other.leads]).toEqual([true, false]);
    const agent = await member(other);
    const here = await agent.ask(one, '/v1/lease', { ...lease, starved: true });
    const there = await agent.ask(other, '/v1/lease/renew', { leaseId: here.body.leaseId, bytes: MiB, next: 1 });
    expect([here.body.granted, there.body]).toEqual([true, { held: true, to: here.body.to }]);
    expect(there.instance).toBe(here.instance);
    expect(
      await agent.ask(other, '/v1/reference/find', { registry: 'a', repository: 'b', reference: 'c', scope: 'd' }),
    ).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
    expect((await call(other, '/v1/lease', lease, 'nobody')).body.error.code).toBe('NO_SESSION');
    expect([await get(one, '/readyz'), await get(other, '/readyz')]).toEqual([200, 200]);
  });

  test('the page of the one that leads shows the cluster, and the other one’s says where to look', async () => {
    const dashboard = { listen: { host: '127.0.0.1', port: 0 }, names: [] };
    const [one, other] = [await start(redis.url, { dashboard }), await start(redis.url, { dashboard })];
    const agent = await member(one);
    const addresses = ['/ip4/127.0.0.1/tcp/7301'];
    await agent.ask(other, '/v1/announce', { addresses, blobs: [], withdraw: [], name: 'node-1' });
    const state = async ({ dashboard: page }: Tracker) => {
      const response = await fetch(`${page?.url}/v1/state`, { headers: { authorization: `Bearer ${page?.token}` } });
      return [response.status, await response.json()];
    };
    expect(await state(one)).toMatchObject([200, { cluster: { members: 1 } }]);
    expect(await state(other)).toMatchObject([503, { error: expect.stringContaining('look at its page') }]);
    await one.close();
    await expect.poll(async () => (await state(other))[0], { timeout: 5_000, interval: 50 }).toBe(200);
  });

  test('bars, references, leases and orders are the next leader’s when one is stopped, and calls do not fail meanwhile', async () => {
    const [one, other] = [await start(), await start()];
    const [agent, second, liar] = [await member(one), await member(one), await member(one)];
    await agent.ask(one, '/v1/announce', { addresses: [], blobs: [], withdraw: [], name: 'node-1', takesOrders: true });
    const held = await agent.leased(one);
    await one.bar(liar.peerId, 'a test');
    const digest = `sha256:${'6'.repeat(64)}`;
    const about = { registry: 'registry.test', repository: 'org/app', scope: 'public' };
    const found = { ...about, reference: 'v1', digest, mediaType: 'x/y', sizeBytes: 7, resolvedAtMs: Date.now() };
    const asks = { ...about, reference: 'v1', accept: 'a', maxAgeMs: 0, waitMs: 0 };
    expect((await agent.ask(one, '/v1/reference/ask', asks)).body).toEqual({ turn: 'ask' });
    const reported = await agent.ask(one, '/v1/reference', { said: 'found', accept: 'a', ...found });
    expect([reported.status, reported.body]).toEqual([200, {}]);
    const order = await agent.ask(one, '/v1/prefetch/order', { images: ['registry.test/org/app:v1'] });
    expect(order.body.nodes).toMatchObject([{ name: 'node-1', state: 'waiting' }]);

    const renewal = { leaseId: held.leaseId, bytes: MiB, next: held.from + 1, ranges: true };
    expect((await agent.ask(one, '/v1/lease/renew', renewal)).body.held).toBe(true);
    const stopped = one.close();
    const renewed = await agent.ask(other, '/v1/lease/renew', { ...renewal, bytes: 2 * MiB });
    await stopped;
    expect(renewed.body).toEqual({ held: true, to: held.to });
    await expect.poll(() => other.leads, { timeout: 5_000, interval: 20 }).toBe(true);
    expect((await second.leased(other)).from).toBe(held.to);
    expect((await liar.ask(other, '/v1/lease', lease)).body.error.code).toBe('BARRED');
    expect((await liar.join(other)).body.error.code).toBe('BARRED');
    await expect
      .poll(async () => (await agent.ask(other, '/v1/reference/find', { ...about, reference: 'v1' })).body.digest)
      .toBe(digest);
    expect((await agent.ask(other, '/v1/prefetch/tasks', {})).body.tasks).toMatchObject([{ id: order.body.id }]);
  });

  test('while the store is away nobody leads for long and calls are refused; when it is back, nothing is lost', async () => {
    const [one, other] = [await start(), await start()];
    const [agent, second] = [await member(one), await member(one)];
    const held = await agent.leased(one);
    await redis.kill();
    await expect.poll(() => one.leads || other.leads, { timeout: 5_000, interval: 20 }).toBe(false);
    const refused = await agent.ask(other, '/v1/lease', lease);
    expect([refused.status, refused.body.error.code]).toEqual([503, 'INTERNAL']);
    await expect.poll(() => get(one, '/readyz'), { timeout: 5_000 }).toBe(503);
    // After a while they are refused at once: agents shall not wait for what does not come.
    await sleep(4_000);
    const askedAtMs = performance.now();
    expect((await agent.ask(one, '/v1/lease', lease)).status).toBe(503);
    expect(performance.now() - askedAtMs).toBeLessThan(1_000);

    await redis.restart();
    await expect.poll(() => [one.leads, other.leads].sort(), { timeout: 10_000, interval: 20 }).toEqual([false, true]);
    const leader = one.leads ? one : other;
    const renewal = { leaseId: held.leaseId, bytes: MiB, next: held.from + 1, ranges: true };
    expect((await agent.ask(leader, '/v1/lease/renew', renewal)).body).toEqual({ held: true, to: held.to });
    expect((await second.leased(leader)).from).toBe(held.to);
  });

  test('a tracker of another identity on the same store is another cluster', async () => {
    const one = await start();
    const apart = await DaemonFolder.create('apart');
    resources.use(apart);
    await openIdentity(apart.path, logger);
    const options = { listen: { host: '127.0.0.1', port: 0 }, dataDir: folder.join('apart'), store: redis.url };
    const dependencies = { logger, clock: Date.now, random: seededRandom(1) };
    const other = await startTracker({ ...options, identityDir: apart.path }, dependencies);
    resources.defer(() => other.close());
    expect([one.leads, other.leads]).toEqual([true, true]);
  });

  test('without a shared identity, or with a store that does not answer or wants another password, none starts', async () => {
    const options = { listen: { host: '127.0.0.1', port: 0 }, dataDir: folder.join('none') };
    const dependencies = { logger, clock: Date.now, random: seededRandom(1) };
    const failure = async (more: object): Promise<TrackerStartError> => {
      const error = await startTracker({ ...options, ...more }, dependencies).catch((reason: unknown) => reason);
      if (error instanceof TrackerStartError) return error;
      throw error;
    };
    expect((await failure({ store: redis.url })).code).toBe('IDENTITY_NOT_SHARED');
    const wrong = await failure({
      store: redis.url.replace('test-password', 'secret-but-wrong'),
      identityDir: folder.path,
    });
    expect(wrong.code).toBe('STORE_UNREACHABLE');
    expect(wrong.message).toMatch(/WRONGPASS|invalid/i);
    expect(wrong.message).not.toContain('secret-but-wrong');
  });
});
