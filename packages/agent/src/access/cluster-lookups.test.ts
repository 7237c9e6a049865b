import { type Digest, OCI_INDEX, OCI_MANIFEST } from '@shoal/oci';
import type { ReferenceTurn } from '@shoal/wire';
import { expect, test, vi } from 'vitest';
import { ClientAuthorization } from '../origin/asker.ts';
import { OriginError } from '../origin/origin-client.ts';
import type { RegistryOptions } from '../origin/origin-options.ts';
import { AskingScopes } from './asking-scope.ts';
import { ClusterLookups, type ClusterLookupsOptions } from './cluster-lookups.ts';
import { FakeReferences, FakeUpstream, sha256 } from './fake-upstream.fixture.ts';

const repository = { registry: 'ghcr.io', name: 'org/app' };
const key = 'ghcr.io/org/app:v1';
const manifest = (content: string) => ({ digest: sha256(content), mediaType: OCI_MANIFEST, sizeBytes: 7 });
const told = (content: string, ageMs = 0): ReferenceTurn => ({ turn: 'told', ...manifest(content), ageMs });

function build(options: ClusterLookupsOptions = {}, registries: Record<string, RegistryOptions> = {}) {
  const clock = { nowMs: 1_000_000 };
  const origin = new FakeUpstream();
  const tracker = new FakeReferences();
  const scopes = new AskingScopes({ registries, joinSecret: 'secret' });
  const lookups = new ClusterLookups(
    { tags: () => ({ freshMs: 30_000, maxStaleMs: 0 }), ...options },
    { origin, tracker, scopes, now: () => clock.nowMs },
  );
  origin.manifests.set(key, manifest('of the origin'));
  const resolve = (over: { reference?: string; accept?: string; signal?: AbortSignal } = {}) => {
    const { reference = 'v1', accept = OCI_MANIFEST, signal = new AbortController().signal } = over;
    return lookups.resolve({ repository, reference, accept }, { signal, pullId: 'p' });
  };
  return { clock, origin, tracker, lookups, resolve };
}

test('what another member was told is taken without asking the origin, with its age', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push(told('of the cluster', 5_000));
  expect(await resolve()).toEqual({ ...manifest('of the cluster'), resolvedAtMs: 995_000 });
  expect(origin.asked).toEqual([]);
  expect(tracker.reports).toEqual([]);
  expect(tracker.lookups).toMatchObject([
    { registry: 'ghcr.io', repository: 'org/app', reference: 'v1', scope: 'public', maxAgeMs: 30_000, waitMs: 1_500 },
  ]);
});

test('with the turn, this agent asks the origin and tells the others', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'ask' });
  expect(await resolve()).toEqual({ ...manifest('of the origin'), resolvedAtMs: 1_000_000 });
  expect(origin.asked).toEqual([key]);
  const { scope, accept } = tracker.lookups[0] ?? expect.fail('the cluster was not asked');
  expect(tracker.reports).toEqual([
    {
      registry: 'ghcr.io',
      repository: 'org/app',
      reference: 'v1',
      scope,
      accept,
      said: 'found',
      ...manifest('of the origin'),
      resolvedAtMs: 1_000_000,
    },
  ]);
});

test.each([
  ['unauthorized', { said: 'refused', code: 'unauthorized' }],
  ['not-found', { said: 'refused', code: 'not-found' }],
  ['refused', { said: 'refused', code: 'refused' }],
  ['unavailable', { said: 'failed' }],
  ['rate-limited', { said: 'failed' }],
  ['timeout', { said: 'failed' }],
  ['invalid', { said: 'failed' }],
  ['blocked-host', { said: 'failed' }],
] as const)('with the turn, %s is reported as %j', async (code, said) => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'ask' });
  origin.failure = new OriginError(code, 'no');
  await expect(resolve()).rejects.toBe(origin.failure);
  expect(tracker.reports).toMatchObject([said]);
});

test('another member’s no is this agent’s, too', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'refused', code: 'not-found' });
  await expect(resolve()).rejects.toMatchObject({ code: 'not-found', temporary: false });
  expect(origin.asked).toEqual([]);
});

test('18: a login is asked for only by the registry’s own word, whatever a member was told', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'refused', code: 'unauthorized' });
  origin.failure = new OriginError('unauthorized', 'no', { challenge: ['Bearer realm="https://auth.example/"'] });
  await expect(resolve()).rejects.toBe(origin.failure);
});

test('19: what a client’s own credential opens is asked in its name, and shared with nobody', async () => {
  const { origin, tracker, lookups } = build();
  const asker = ClientAuthorization.from('Bearer token');
  const question = { repository, reference: 'v1', accept: '' };
  await lookups.resolve(question, { signal: new AbortController().signal, pullId: 'p', asker: asker! });
  expect(origin.askers).toEqual([asker]);
  expect(await lookups.lastTold(repository, 'v1', asker!)).toBeUndefined();
  expect([tracker.lookups, tracker.reports]).toEqual([[], []]);
});

test('without a tracker the origin is asked at once', async () => {
  const { origin, resolve } = build();
  expect(await resolve()).toMatchObject(manifest('of the origin'));
  expect(origin.asked).toHaveLength(1);
});

test('who waits comes back until there is an answer', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'wait', retryAfterMs: 0 }, { turn: 'wait', retryAfterMs: 5 }, told('of the cluster'));
  expect(await resolve()).toMatchObject(manifest('of the cluster'));
  expect(origin.asked).toEqual([]);
});

test('who has waited long enough asks the origin, and keeps the answer to itself: it had no turn', async () => {
  const { clock, origin, tracker, resolve } = build({ shareWithinMs: 2_500 });
  const waited = async (): Promise<ReferenceTurn> => {
    clock.nowMs += 1_500;
    return { turn: 'wait', retryAfterMs: 0 };
  };
  tracker.turns.push(waited());
  vi.spyOn(tracker, 'lookUpReference').mockImplementation(async (lookup) => {
    tracker.lookups.push(lookup);
    return await waited();
  });
  clock.nowMs = 1_000_000;
  expect(await resolve()).toMatchObject(manifest('of the origin'));
  expect(tracker.lookups.map(({ waitMs }) => waitMs)).toEqual([1_500, 1_000]);
  expect(origin.asked).toHaveLength(1);
  expect(tracker.reports).toEqual([]);
});

test('a freshness of 0 asks the origin every time, tags and digests, and believes no member at any time', async () => {
  const { clock, origin, tracker, lookups, resolve } = build({ tags: () => ({ freshMs: 0, maxStaleMs: 60_000 }) });
  const reference = sha256('of the origin');
  origin.manifests.set(`ghcr.io/org/app@${reference}`, manifest('of the origin'));
  tracker.turns.push(told('of the cluster'), told('of the cluster'));
  await resolve();
  await resolve();
  await resolve({ reference });
  expect(origin.asked).toHaveLength(3);
  expect([tracker.lookups, tracker.reports]).toEqual([[], []]);
  const of = { registry: repository.registry, repository: repository.name, reference: 'v1', scope: 'public' };
  tracker.records.push({ ...of, ...manifest('of the cluster'), resolvedAtMs: clock.nowMs });
  expect(await lookups.lastTold(repository, 'v1', 'node')).toBeUndefined();
});

test('an answer that this client does not accept, or about another digest, is not taken', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push(told('of the cluster'));
  origin.manifests.set(key, { ...manifest('index'), mediaType: OCI_INDEX });
  expect((await resolve({ accept: OCI_INDEX })).digest).toBe(sha256('index'));
  const digest = sha256('wanted');
  origin.manifests.set(`ghcr.io/org/app@${digest}`, manifest('wanted'));
  tracker.turns.push(told('something else'));
  expect((await resolve({ reference: digest })).digest).toBe(digest);
});

test('an origin that answers another digest than the one asked for is wrong', async () => {
  const { origin, tracker, resolve } = build();
  const digest = sha256('wanted');
  origin.manifests.set(`ghcr.io/org/app@${digest}`, manifest('something else'));
  tracker.turns.push({ turn: 'ask' });
  await expect(resolve({ reference: digest })).rejects.toMatchObject({ code: 'invalid' });
  expect(tracker.reports).toMatchObject([{ said: 'failed' }]);
});

test('a client that leaves while it waits gives a turn back that comes too late', async () => {
  const { origin, tracker, resolve } = build();
  const late = Promise.withResolvers<ReferenceTurn>();
  tracker.turns.push(late.promise);
  const leaver = new AbortController();
  const left = resolve({ signal: leaver.signal });
  await vi.waitFor(() => expect(tracker.lookups).toHaveLength(1));
  leaver.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  late.resolve({ turn: 'ask' });
  await vi.waitFor(() => expect(tracker.reports).toMatchObject([{ said: 'left', reference: 'v1' }]));
  expect(origin.asked).toEqual([]);
});

test('a client that leaves while the origin is asked gives the turn back', async () => {
  const { origin, tracker, resolve } = build();
  tracker.turns.push({ turn: 'ask' });
  origin.gate = new Promise(() => {});
  const leaver = new AbortController();
  const left = resolve({ signal: leaver.signal });
  await vi.waitFor(() => expect(origin.asked).toHaveLength(1));
  leaver.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  expect(tracker.reports).toMatchObject([{ said: 'left' }]);
});

test('2: an origin that never answers is a temporary failure after the deadline', async () => {
  const { origin, tracker, resolve } = build({ lookupDeadlineMs: 20 });
  tracker.turns.push({ turn: 'ask' });
  origin.gate = new Promise(() => {});
  await expect(resolve()).rejects.toMatchObject({ code: 'timeout', temporary: true });
  expect(tracker.reports).toMatchObject([{ said: 'failed' }]);
});

test('what a member with a login was last told is told to nobody without it', async () => {
  const login = { username: 'robot', password: 'hunter2-hunter2' };
  const member = build({}, { 'ghcr.io': login });
  member.tracker.turns.push({ turn: 'ask' });
  await member.resolve();
  const digest: Digest = sha256('of the origin');
  for (const registries of [{}, { 'ghcr.io': { ...login, password: 'guess-guess' } }]) {
    const other = build({}, registries);
    other.tracker.records.push(...member.tracker.records);
    expect(await other.lookups.lastTold(repository, 'v1', 'node')).toBeUndefined();
    expect(await other.lookups.lastTold(repository, digest, 'node')).toBeUndefined();
    await other.resolve();
    expect(other.tracker.lookups[0]?.scope).not.toBe(member.tracker.lookups[0]?.scope);
  }
  expect(await member.lookups.lastTold(repository, 'v1', 'node')).toMatchObject({ digest });
  expect(JSON.stringify([member.tracker.reports, member.tracker.lookups])).not.toMatch(/robot|hunter2/);
});

test('what a registry of this machine says stays here', async () => {
  const { origin, tracker, lookups } = build();
  const local = { registry: 'localhost:5000', name: 'org/app' };
  origin.manifests.set('localhost:5000/org/app:v1', manifest('local'));
  const question = { repository: local, reference: 'v1', accept: '' };
  const call = { signal: new AbortController().signal, pullId: 'p' };
  expect((await lookups.resolve(question, call)).digest).toBe(sha256('local'));
  expect(await lookups.lastTold(local, 'v1', 'node')).toBeUndefined();
  expect([tracker.lookups, tracker.reports]).toEqual([[], []]);
});

test('what is distrusted may be told by the cluster again only from an answer that came later', async () => {
  const { clock, tracker, lookups, resolve } = build();
  tracker.turns.push(told('old'), told('new'));
  lookups.distrust({ repository, reference: 'v1' });
  clock.nowMs += 3_000;
  await resolve();
  expect(tracker.lookups[0]?.maxAgeMs).toBe(3_000);
  expect(lookups.isDistrusted({ repository, reference: 'v1' }, clock.nowMs - 3_001)).toBe(true);
  expect(lookups.isDistrusted({ repository, reference: 'v1' }, clock.nowMs - 3_000)).toBe(false);
  clock.nowMs += 60_000;
  await resolve();
  expect(tracker.lookups[1]?.maxAgeMs).toBe(30_000);
});
