import { OCI_INDEX, OCI_MANIFEST } from '@shoal/oci';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import { Admissions } from './admission.ts';
import { anonymousLookups, FakeReferences, FakeUpstream, sha256 } from './fake-upstream.fixture.ts';
import { memoryNotes } from './memory-notes.fixture.ts';
import { ReferenceResolver } from './reference-resolver.ts';
import type { TagPolicy } from './tag-policy.ts';

const repository = { registry: 'docker.io', name: 'library/alpine' };
const key = 'docker.io/library/alpine:latest';
const call = () => ({ signal: new AbortController().signal, pullId: 'p' });
const answer = (content: string, mediaType = OCI_MANIFEST) => ({ digest: sha256(content), mediaType, sizeBytes: 7 });
const down = new OriginError('unreachable', 'down');

const WEEK_MS = 7 * 24 * 60 * 60_000;
const policy = (given: Partial<TagPolicy>) => () => ({ freshMs: 0, maxStaleMs: WEEK_MS, ...given });

function build(options: Partial<TagPolicy> = {}, lookupDeadlineMs?: number) {
  const world = {
    origin: new FakeUpstream(),
    tracker: new FakeReferences(),
    notes: memoryNotes(),
    logger: pino({ level: 'silent' }),
    clock: { nowMs: 1_000_000 },
  };
  const now = () => world.clock.nowMs;
  const lookups = anonymousLookups(
    { ...world, now },
    { tags: policy(options), ...(lookupDeadlineMs === undefined ? {} : { lookupDeadlineMs }) },
  );
  const open = () => {
    const admissions = new Admissions({}, { ...world, now });
    return new ReferenceResolver(policy(options), { ...world, admissions, lookups, now });
  };
  const resolver = open();
  return {
    ...world,
    open,
    resolver,
    resolve: (accept = '') => resolver.resolve({ repository, tag: 'latest', accept }, call()),
  };
}

test('22: without a freshness window a tag is asked for again every time', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('old'));
  await world.resolve();
  world.origin.manifests.set(key, answer('new'));
  expect(await world.resolve()).toMatchObject({ ...answer('new'), stale: false });
});

test('what a tag was last told to be is known without asking anybody, the newest first, and after a restart', async () => {
  const world = build();
  const known = () => world.open().known(repository, 'latest');
  expect(await known()).toEqual([]);
  world.origin.manifests.set(key, answer('index', OCI_INDEX));
  await world.resolve(OCI_INDEX);
  world.clock.nowMs += 1_000;
  world.origin.manifests.set(key, answer('plain'));
  await world.resolve(OCI_MANIFEST);
  const { length } = world.origin.asked;
  expect(await known()).toEqual([sha256('plain'), sha256('index')]);
  expect(world.origin.asked).toHaveLength(length);
});

test('23: simultaneous lookups of one tag are one', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('a'));
  await Promise.all([world.resolve(), world.resolve(), world.resolve()]);
  expect(world.origin.asked).toHaveLength(1);
});

test('32: lookups with another Accept are not merged, the same one spelt otherwise is', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('a'));
  await Promise.all([
    world.resolve(`${OCI_INDEX}, ${OCI_MANIFEST}`),
    world.resolve(OCI_MANIFEST),
    world.resolve(`${OCI_MANIFEST},${OCI_INDEX.toUpperCase()}`),
  ]);
  expect(world.origin.asked).toHaveLength(2);
});

test('within the freshness window the last answer is given', async () => {
  const world = build({ freshMs: 1000 });
  world.origin.manifests.set(key, answer('a'));
  await world.resolve();
  world.clock.nowMs += 999;
  await world.resolve();
  expect(world.origin.asked).toHaveLength(1);
  world.clock.nowMs += 1;
  await world.resolve();
  expect(world.origin.asked).toHaveLength(2);
});

test('an answer that another member got ages from when the origin gave it', async () => {
  const { origin, tracker, notes, logger, clock } = build();
  const now = () => clock.nowMs;
  const lookups = anonymousLookups({ origin, tracker, now }, { tags: policy({ freshMs: 1_000 }) });
  const resolver = new ReferenceResolver(policy({ freshMs: 1_000 }), {
    admissions: new Admissions({}, { notes, logger, now }),
    lookups,
    notes,
    logger,
    now,
  });
  const resolve = () => resolver.resolve({ repository, tag: 'latest', accept: '' }, call());
  tracker.turns.push({ turn: 'told', ...answer('a'), ageMs: 700 }, { turn: 'told', ...answer('b'), ageMs: 0 });
  await resolve();
  clock.nowMs += 299;
  expect((await resolve()).digest).toBe(sha256('a'));
  clock.nowMs += 1;
  expect((await resolve()).digest).toBe(sha256('b'));
});

test('22: with the origin down, this agent remembers the last answer across a restart', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('a'));
  await world.resolve();
  world.origin.failure = down;
  world.tracker.records.length = 0;
  expect(await world.open().resolve({ repository, tag: 'latest', accept: '' }, call())).toMatchObject({
    ...answer('a'),
    stale: true,
  });
});

test.each([
  [1_000, 'b'],
  // Then no other member is believed.
  [0, 'a'],
])(
  'with the origin down and a freshness of %i, the newest of what the cluster knows is given: %s',
  async (freshMs, newest) => {
    const world = build({ freshMs });
    world.origin.manifests.set(key, answer('a'));
    await world.resolve();
    world.clock.nowMs += 1_000;
    world.origin.failure = down;
    const record = { registry: 'docker.io', repository: 'library/alpine', reference: 'latest' };
    world.tracker.records.push({ ...record, ...answer('b'), scope: 'public', resolvedAtMs: world.clock.nowMs });
    expect(await world.resolve()).toMatchObject({ ...answer(newest), stale: true });
  },
);

test('32: a stale answer has a type that the client accepts', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('index', OCI_INDEX));
  await world.resolve(OCI_INDEX);
  world.clock.nowMs += 1;
  world.origin.manifests.set(key, answer('image', OCI_MANIFEST));
  await world.resolve(OCI_MANIFEST);
  world.origin.failure = down;
  expect((await world.resolve(OCI_INDEX)).digest).toBe(sha256('index'));
  await expect(world.resolve('a/b')).rejects.toThrow('down');
});

test('a plain no from the origin is never overruled', async () => {
  const world = build();
  world.origin.manifests.set(key, answer('a'));
  await world.resolve();
  world.origin.failure = new OriginError('unauthorized', 'no');
  await expect(world.resolve()).rejects.toThrow('no');
});

test('22: an answer too old is not given, and is pruned', async () => {
  const world = build({ maxStaleMs: 1000 });
  world.origin.manifests.set(key, answer('a'));
  await world.resolve();
  world.origin.failure = down;
  world.clock.nowMs += 1000;
  await expect(world.resolve()).rejects.toThrow('down');
  await world.open().prune();
  expect([...world.notes.held.keys()].filter((held) => held.startsWith('reference/'))).toEqual([]);
});

test('2: an origin that never answers counts as down after the deadline', async () => {
  const world = build({}, 20);
  world.origin.gate = new Promise(() => {});
  await expect(world.resolve()).rejects.toMatchObject({ code: 'timeout' });
});

test('a tag that is forgotten is asked of the registry, not of the cluster, and remembered anew', async () => {
  const world = build({ freshMs: WEEK_MS });
  world.origin.manifests.set(key, answer('old'));
  await world.resolve();
  world.origin.manifests.set(key, answer('new'));
  expect((await world.resolve()).digest).toBe(sha256('old'));
  await world.resolver.forget(repository, 'latest');
  expect((await world.resolve()).digest).toBe(sha256('new'));
  expect((await world.resolve()).digest).toBe(sha256('new'));
  expect(world.origin.asked).toHaveLength(2);
});
