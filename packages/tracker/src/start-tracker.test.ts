/** The API as any caller may use it, over real HTTPS. The agent's own client has its tests against it elsewhere. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobId } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import {
  type JoinAnswer,
  joinAnswerSchema,
  joinProofBytes,
  MAX_ANNOUNCED_BLOBS,
  parseJoinToken,
  peerIdOfEd25519Key,
  trackerErrorSchema,
} from '@shoal/wire';
import fc from 'fast-check';
import { Level } from 'level';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attestationBy } from './members/members.fixture.ts';
import { startTracker, type Tracker } from './start-tracker.ts';

let dataDir: string;
let tracker: Tracker;

const start = () =>
  startTracker(
    { listen: { host: '127.0.0.1', port: 0 }, dataDir },
    { logger: pino({ level: 'silent' }), clock: Date.now, random: seededRandom(1) },
  );

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-tracker-'));
  tracker = await start();
});

afterEach(async () => {
  await tracker.close();
  await rm(dataDir, { recursive: true });
});

interface Reply {
  status: number;
  text: string;
}

function send(path: string, body?: string, headers: Record<string, string> = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      rejectUnauthorized: false,
    };
    const call = request(new URL(path, tracker.url), options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(body);
  });
}

async function session(audience: 'session' | 'certificate' = 'session'): Promise<Record<string, string>> {
  return { authorization: `Bearer ${(await newMember())[audience]}` };
}

async function newMember(): Promise<JoinAnswer & { privateKey: KeyObject }> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const peerId = peerIdOfEd25519Key(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'));
  const sentAtMs = Date.now();
  const proof = sign(null, joinProofBytes(peerId, sentAtMs), privateKey).toString('base64url');
  const secret = parseJoinToken(tracker.joinToken)?.secret;
  const { text } = await send('/v1/join', JSON.stringify({ secret, peerId, sentAtMs, proof, zone: 'a' }));
  return { ...joinAnswerSchema.parse(JSON.parse(text)), privateKey };
}

function codeOf(reply: Reply): string {
  return trackerErrorSchema.parse(JSON.parse(reply.text)).error.code;
}

const calls = [
  '/v1/join',
  '/v1/announce',
  '/v1/lease',
  '/v1/lease/renew',
  '/v1/lease/release',
  '/v1/reference',
  '/v1/reference/ask',
  '/v1/reference/find',
  '/v1/prefetch/order',
  '/v1/prefetch/find',
  '/v1/prefetch/list',
  '/v1/prefetch/cancel',
  '/v1/prefetch/tasks',
  '/v1/prefetch/progress',
  '/v1/leave',
];

test.each(calls)('%s refuses whatever is not its request, and never fails over it', async (path) => {
  const headers = await session();
  const garbage = ['', '{', '[]', '"text"', 'null', '7', '{"__proto__":{"a":1}}', '\u0000', '\ud800'];
  for (const body of garbage) {
    const reply = await send(path, body, headers);
    expect([reply.status, codeOf(reply)], body).toEqual([400, 'BAD_REQUEST']);
  }
  const wrongType = await send(path, '{}', { ...headers, 'content-type': 'text/html' });
  expect([wrongType.status, codeOf(wrongType)]).toEqual([400, 'BAD_REQUEST']);
});

test('any JSON at any call gives an answer of the API and never a 5xx', async () => {
  const headers = await session();
  const fields = ['blob', 'sizeBytes', 'registry', 'leaseId', 'pieces', 'blobs', 'addresses', 'secret', 'sentAtMs'];
  const body = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...fields), fc.jsonValue()));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...calls), body, async (path, value) => {
      const reply = await send(path, JSON.stringify(value), headers);
      expect(reply.status).toBeLessThan(500);
      if (reply.status !== 200) codeOf(reply);
    }),
    { numRuns: 150 },
  );
});

test('a join whose numbers and signatures are extreme is refused like any other', async () => {
  const secret = parseJoinToken(tracker.joinToken)?.secret;
  const peerId = peerIdOfEd25519Key(new Uint8Array(32));
  for (const sentAtMs of [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
    for (const proof of ['', 'AAAA', 'A'.repeat(86), 'é'.repeat(86)]) {
      const reply = await send('/v1/join', JSON.stringify({ secret, peerId, sentAtMs, proof, zone: '' }));
      expect(reply.status).toBeGreaterThanOrEqual(400);
      expect(reply.status).toBeLessThan(500);
    }
  }
});

test('nothing but joining works without a session, and a certificate is not a session', async () => {
  const certificate = await session('certificate');
  for (const path of calls.slice(1)) {
    expect(codeOf(await send(path, '{}'))).toBe('NO_SESSION');
    expect(codeOf(await send(path, '{}', certificate))).toBe('NO_SESSION');
  }
});

test('bodies beyond their bound are refused, the largest allowed announcement is not', async () => {
  const headers = await session();
  expect((await send('/v1/lease', JSON.stringify({ registry: 'x'.repeat(20_000) }), headers)).status).toBe(413);
  const registry = `${'a23456789.'.repeat(25)}abc:65535`;
  const blob = (index: number): string => `${registry}/sha512:${index.toString(16).padStart(128, '0')}`;
  const all = Array.from({ length: MAX_ANNOUNCED_BLOBS }, (_, index) => blob(index));
  const blobs = all.map((each) => ({ blob: each, state: 'want' }));
  const largest = JSON.stringify({ addresses: Array(16).fill('a'.repeat(256)), blobs, withdraw: all });
  expect((await send('/v1/announce', largest, headers)).status).toBe(200);
});

test('health and metrics answer without a session', async () => {
  await send('/v1/announce', JSON.stringify({ addresses: [], blobs: [], withdraw: [] }), await session());
  expect((await send('/healthz')).status).toBe(200);
  const { text } = await send('/metrics');
  expect(text).toMatch(/^shoal_tracker_agents 1$/m);
  expect(text).toMatch(/^shoal_tracker_joins_total\{outcome="ok"\} 1$/m);
});

test('an order reaches an agent with the answer to its announcement; one that was barred orders nothing more', async () => {
  const [orderer, worker] = [await session(), await session()];
  const call = async (path: string, headers: Record<string, string>, body: object = {}) =>
    JSON.parse((await send(path, JSON.stringify(body), headers)).text);
  const announcement = { addresses: [], blobs: [], withdraw: [] };
  // An older agent says neither; a name that is none counts for nothing.
  expect(await call('/v1/announce', orderer, { ...announcement, name: 'not a name' })).not.toHaveProperty('orders');
  const named = { ...announcement, name: 'worker', takesOrders: true };
  expect(await call('/v1/announce', worker, named)).not.toHaveProperty('orders');
  const order = await call('/v1/prefetch/order', orderer, { images: ['alpine'], names: ['worker'] });
  expect(order).toMatchObject({ state: 'open', nodes: [{ name: 'worker', state: 'waiting' }] });
  expect(await call('/v1/announce', worker, named)).toMatchObject({ orders: true });
  expect(await call('/v1/prefetch/tasks', worker)).toEqual({ tasks: [{ id: order.id, images: ['alpine'] }] });
  expect(await call('/v1/prefetch/tasks', orderer)).toEqual({ tasks: [] });
  const progress = { id: order.id, state: 'fetching', doneBytes: 1, fromPeers: 0, fromOrigin: 1 };
  expect(await call('/v1/prefetch/progress', worker, progress)).toEqual({ wanted: true });
  expect(await call('/v1/prefetch/progress', orderer, progress)).toEqual({ wanted: false });
  const [, claims = ''] = (orderer.authorization ?? '').split('.');
  await tracker.bar(JSON.parse(Buffer.from(claims, 'base64url').toString()).sub, 'test');
  expect(await call('/v1/prefetch/find', worker, { id: order.id })).toMatchObject({ state: 'cancelled' });
  expect(await call('/v1/prefetch/progress', worker, progress)).toEqual({ wanted: false });
  expect(codeOf(await send('/v1/prefetch/order', JSON.stringify({ images: ['alpine'] }), orderer))).toBe('BARRED');
  expect(codeOf(await send('/v1/prefetch/find', JSON.stringify({ id: 'nope' }), worker))).toBe('NOT_FOUND');
});

test('only its owner reads the identity, and nothing unfinished stays behind', async () => {
  const files = (await readdir(dataDir)).filter((name) => name !== 'state');
  expect(files.sort()).toEqual(['cluster-key.pem', 'join-secret', 'join-token', 'tls.pem']);
  for (const name of files) expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(dataDir, 'join-token'), 'utf8')).toBe(`${tracker.joinToken}\n`);
});

test('a first start that was cut off is completed by the next one', async () => {
  await tracker.close();
  await rm(join(dataDir, 'join-token'));
  await rm(join(dataDir, 'join-secret'));
  await writeFile(join(dataDir, 'join-secret.new'), 'half');
  tracker = await start();
  expect(parseJoinToken(tracker.joinToken)).toBeDefined();
});

test.each(['tls.pem', 'cluster-key.pem', 'join-secret'])(
  'a damaged or missing %s stops the start and is named',
  async (name) => {
    await tracker.close();
    const path = join(dataDir, name);
    const whole = await readFile(path);
    await truncate(path, 10);
    await expect(start()).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED', message: expect.stringContaining(path) });
    await rm(path);
    await expect(start()).rejects.toMatchObject({
      code: 'IDENTITY_INCOMPLETE',
      message: expect.stringContaining(path),
    });
    await writeFile(path, whole);
    await chmod(path, 0o600);
    tracker = await start();
  },
);

test('two trackers do not run on one data directory', async () => {
  await expect(start()).rejects.toMatchObject({ code: 'STATE_LOCKED' });
});

test('a damaged state is named', async () => {
  await tracker.close();
  const current = join(dataDir, 'state', 'CURRENT');
  const whole = await readFile(current);
  await writeFile(current, 'garbage');
  await expect(start()).rejects.toMatchObject({ code: 'STATE_DAMAGED', message: expect.stringContaining('state') });
  await writeFile(current, whole);
  tracker = await start();
});

test('references outlive a restart, each for its own scope; those of old without one, or without who said so, are forgotten', async () => {
  const query = { registry: 'r', repository: 'a/b', reference: 'latest', scope: 'public' };
  const digest = `sha256:${'a'.repeat(64)}`;
  const record = { ...query, digest, mediaType: 'm', sizeBytes: 1, resolvedAtMs: Date.now() - 1_000 };
  const said = { said: 'found', accept: 'a' };
  for (const over of [{}, { resolvedAtMs: 1, sizeBytes: 2 }]) {
    const asker = await session();
    await send('/v1/reference/ask', JSON.stringify({ ...query, accept: 'a', maxAgeMs: 0, waitMs: 0 }), asker);
    await send('/v1/reference', JSON.stringify({ ...record, ...said, ...over }), asker);
  }
  await tracker.close();
  const level = new Level<string, unknown>(join(dataDir, 'state'), { valueEncoding: 'json' });
  const { scope: _, ...unscoped } = { ...record, reference: 'old' };
  await level.put(`reference!${JSON.stringify(['r', 'a/b', 'old'])}`, unscoped);
  const unsaid = { ...record, reference: 'unsaid' };
  await level.put(`reference2!${JSON.stringify(['r', 'a/b', 'unsaid', 'public'])}`, unsaid);
  await level.close();
  tracker = await start();
  const find = async (over: object) =>
    send('/v1/reference/find', JSON.stringify({ ...query, ...over }), await session());
  expect(JSON.parse((await find({})).text)).toEqual(record);
  expect(codeOf(await find({ scope: 'other' }))).toBe('NOT_FOUND');
  expect(codeOf(await find({ reference: 'old' }))).toBe('NOT_FOUND');
  expect(codeOf(await find({ reference: 'unsaid' }))).toBe('NOT_FOUND');
});

test('what a member said a tag is goes with it when it is barred, on disk too, and nobody else’s does', async () => {
  const query = (reference: string) => ({ registry: 'r', repository: 'a/b', reference, scope: 'public' });
  const digest = `sha256:${'a'.repeat(64)}`;
  const [bad, good] = [await session(), await session()];
  const call = async (path: string, headers: Record<string, string>, body: object) =>
    await send(path, JSON.stringify(body), headers);
  for (const [reference, member] of [
    ['evil', bad],
    ['good', good],
  ] as const) {
    await call('/v1/reference/ask', member, { ...query(reference), accept: 'a', maxAgeMs: 0, waitMs: 0 });
    const found = { digest, mediaType: 'm', sizeBytes: 1, resolvedAtMs: Date.now() };
    await call('/v1/reference', member, { ...query(reference), ...found, said: 'found', accept: 'a' });
    expect((await call('/v1/reference/find', good, query(reference))).status).toBe(200);
  }
  const [, claims = ''] = (bad.authorization ?? '').split('.');
  await tracker.bar(JSON.parse(Buffer.from(claims, 'base64url').toString()).sub, 'test');
  const remembered = async () => {
    const answers = ['evil', 'good'].map((reference) => call('/v1/reference/find', good, query(reference)));
    return (await Promise.all(answers)).map(({ status }) => status);
  };
  expect(await remembered()).toEqual([404, 200]);
  await tracker.close();
  tracker = await start();
  expect(await remembered()).toEqual([404, 200]);
});

test('while a member is suspected, what it said a tag is counts no more, and it says nothing new', async () => {
  const [accused, reporter, third] = [await newMember(), await newMember(), await newMember()];
  const call = async (path: string, { session: of }: JoinAnswer, body: object) => {
    const { status, text } = await send(path, JSON.stringify(body), { authorization: `Bearer ${of}` });
    return { status, body: JSON.parse(text) };
  };
  // Among three, one member's word against another's is not enough to bar anybody.
  for (const member of [accused, reporter, third]) {
    await call('/v1/announce', member, { addresses: ['/ip4/127.0.0.1/tcp/1'], blobs: [], withdraw: [] });
  }
  const query = { registry: 'r', repository: 'a/b', reference: 'v1', scope: 'public' };
  const asks = { ...query, accept: 'a', maxAgeMs: 60_000, waitMs: 0 };
  const digest = `sha256:${'a'.repeat(64)}`;
  const found = { ...query, accept: 'a', said: 'found', digest, mediaType: 'm', sizeBytes: 1 };
  const says = (member: JoinAnswer) => call('/v1/reference', member, { ...found, resolvedAtMs: Date.now() });
  await call('/v1/reference/ask', accused, asks);
  await says(accused);
  expect((await call('/v1/reference/ask', third, asks)).body).toMatchObject({ turn: 'told' });

  const piece = { blob: `r/sha256:${'b'.repeat(64)}` as BlobId, sizeBytes: 1, index: 0 };
  const report = { ...piece, claim: attestationBy(accused, piece, 1), counter: attestationBy(reporter, piece, 2) };
  expect(await call('/v1/report', reporter, report)).toEqual({ status: 200, body: { barred: [] } });
  expect((await call('/v1/reference/find', third, query)).status).toBe(404);
  expect((await call('/v1/reference/ask', accused, asks)).body).toEqual({ turn: 'ask' });
  await says(accused);
  expect((await call('/v1/reference/find', third, query)).status).toBe(404);
  expect((await call('/v1/reference/ask', third, asks)).body).toEqual({ turn: 'ask' });
});

test('an identity that is kept elsewhere is used as it is, and nothing is written there', async () => {
  const { joinToken } = tracker;
  await tracker.close();
  const elsewhere = await mkdtemp(join(tmpdir(), 'shoal-tracker-'));
  const startWith = (identityDir: string) =>
    startTracker(
      { listen: { host: '127.0.0.1', port: 0 }, dataDir: elsewhere, identityDir },
      { logger: pino({ level: 'silent' }), clock: Date.now, random: seededRandom(1) },
    );
  try {
    const before = await readdir(dataDir);
    const other = await startWith(dataDir);
    expect(other.joinToken).toBe(joinToken);
    await other.close();
    expect(await readdir(dataDir)).toEqual(before);
    expect(await readdir(elsewhere)).not.toContain('tls.pem');

    await writeFile(join(dataDir, 'join-token'), 'shoal1.other.token\n');
    await expect(startWith(dataDir)).rejects.toMatchObject({
      code: 'IDENTITY_INCOMPLETE',
      message: expect.stringContaining('join-token does not fit the other files'),
    });
    await writeFile(join(dataDir, 'tls.pem'), 'x');
    await expect(startWith(dataDir)).rejects.toThrow(/tls\.pem is damaged/);
    await rm(join(dataDir, 'cluster-key.pem'));
    await expect(startWith(dataDir)).rejects.toThrow(/cluster-key\.pem is missing; give the folder with tls\.pem, /);
    expect(await readdir(dataDir)).not.toContain('cluster-key.pem');
  } finally {
    await rm(elsewhere, { recursive: true });
    await rm(dataDir, { recursive: true });
    dataDir = await mkdtemp(join(tmpdir(), 'shoal-tracker-'));
    tracker = await start();
  }
});
