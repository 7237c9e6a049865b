import { type Descriptor, OCI_MANIFEST } from '@shoal/oci';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import { RepositoryAccess } from './access.ts';
import { Admissions } from './admission.ts';
import { anonymousLookups, FakeReferences, FakeUpstream, sha256 } from './fake-upstream.fixture.ts';
import { memoryNotes } from './memory-notes.fixture.ts';

const DAY_MS = 24 * 60 * 60_000;
const repository = { registry: 'ghcr.io', name: 'org/app' };
const other = { registry: 'ghcr.io', name: 'org/other' };
const layer = sha256('layer');
const manifest = sha256('manifest');
const child = (over: Partial<Descriptor> = {}): Descriptor => ({
  digest: layer,
  sizeBytes: 5,
  mediaType: '',
  kind: 'blob',
  foreign: false,
  ...over,
});
const call = () => ({ signal: new AbortController().signal, pullId: 'p' });

function build() {
  let admissions: Admissions;
  const world = {
    /** What every client may read, and a clock that stands still keeps so. */
    public: async () => {
      for (const one of [repository, other])
        await admissions.put(one, undefined, {
          recall: async () => undefined,
          ask: async () => ({ answer: true, atMs: world.clock.nowMs }),
        });
    },
    origin: new FakeUpstream(),
    tracker: new FakeReferences(),
    notes: memoryNotes(),
    logger: pino({ level: 'silent' }),
    clock: { nowMs: 1_000_000 },
  };
  const now = () => world.clock.nowMs;
  const lookups = anonymousLookups({ ...world, now }, { tags: () => ({ freshMs: 1_000, maxStaleMs: 0 }) });
  admissions = new Admissions({}, { ...world, now });
  const open = (options = {}) => new RepositoryAccess(options, { ...world, admissions, lookups, now });
  const notesUnder = (prefix: string) => [...world.notes.held.keys()].filter((key) => key.startsWith(prefix)).length;
  return { ...world, open, notesUnder };
}

test('children of a recorded manifest are readable without asking, with their size', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  await access.record(repository, { digest: manifest, sizeBytes: 9 }, [child()]);
  const verdict = await access.mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: true, sizeBytes: 5 });
  expect(world.origin.asked).toEqual([]);
});

test('what is recorded survives a restart', async () => {
  const world = build();
  await world.public();
  await world.open().record(repository, { digest: manifest, sizeBytes: 9 }, [child()]);
  const verdict = await world.open().mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: true, sizeBytes: 5 });
});

test('a size and a type once known stay known, across a restart', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  await access.record(repository, { digest: manifest, sizeBytes: 9, mediaType: OCI_MANIFEST }, []);
  await access.record(repository, { digest: manifest, sizeBytes: 9 }, [child()]);
  const verdict = await world.open().mayRead({ repository, digest: manifest, kind: 'manifest' }, call());
  expect(verdict).toMatchObject({ allowed: true, sizeBytes: 9, mediaType: OCI_MANIFEST });
});

test('19: what one repository holds is not readable through another', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  await access.record(repository, { digest: manifest, sizeBytes: 9 }, [child()]);
  const verdict = await access.mayRead({ repository: other, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: false, error: { code: 'not-found' } });
});

test('a foreign layer is not readable because a manifest names it', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  await access.record(repository, { digest: manifest, sizeBytes: 9 }, [child({ foreign: true })]);
  expect(await access.mayRead({ repository, digest: layer, kind: 'blob' }, call())).toMatchObject({ allowed: false });
});

test('a yes from the origin is asked for once', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  world.origin.blobs.set(`ghcr.io/org/app@${layer}`, undefined);
  const first = await access.mayRead({ repository, digest: layer, kind: 'blob' }, call());
  const second = await access.mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect([first.allowed, second.allowed]).toEqual([true, true]);
  expect(world.origin.asked).toHaveLength(1);
});

test('a yes expires after 30 days, and is then pruned', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  await access.record(repository, { digest: manifest, sizeBytes: 9 }, [child()]);
  world.clock.nowMs += 31 * DAY_MS;
  expect(await access.mayRead({ repository, digest: layer, kind: 'blob' }, call())).toMatchObject({ allowed: false });
  expect(world.notesUnder('access/')).toBe(1);
  await access.prune();
  expect(world.notesUnder('access/')).toBe(0);
});

test('a temporary failure of the origin is no yes for a blob', async () => {
  const world = build();
  world.origin.failure = new OriginError('unreachable', 'down');
  const verdict = await world.open().mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: false, error: { code: 'unreachable' } });
});

test.each([
  ['unavailable', true],
  ['unauthorized', false],
] as const)(
  'while the origin is %s, that it told another member of a manifest makes it readable: %s',
  async (code, allowed) => {
    const world = build();
    const reference = { registry: 'ghcr.io', repository: 'org/app', reference: manifest, digest: manifest };
    const told = { ...reference, mediaType: OCI_MANIFEST, sizeBytes: 9, resolvedAtMs: 1 };
    world.tracker.records.push({ ...told, scope: 'public' });
    world.origin.failure = new OriginError(code, 'no');
    const verdict = await world.open().mayRead({ repository, digest: manifest, kind: 'manifest' }, call());
    expect(verdict).toMatchObject(allowed ? { allowed, sizeBytes: 9, mediaType: OCI_MANIFEST } : { allowed });
  },
);

test('2: an origin that never answers is a no after the deadline', async () => {
  const world = build();
  world.origin.gate = new Promise(() => {});
  const access = world.open({ lookupDeadlineMs: 20 });
  const verdict = await access.mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: false, error: { code: 'timeout' } });
});

test('simultaneous questions are one, and one caller leaving does not disturb the other', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  const gate = Promise.withResolvers<void>();
  world.origin.gate = gate.promise;
  world.origin.blobs.set(`ghcr.io/org/app@${layer}`, 5);
  const leaver = new AbortController();
  const left = access.mayRead({ repository, digest: layer, kind: 'blob' }, { signal: leaver.signal, pullId: 'a' });
  const stayed = access.mayRead({ repository, digest: layer, kind: 'blob' }, call());
  await new Promise(setImmediate);
  leaver.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  gate.resolve();
  expect(await stayed).toMatchObject({ allowed: true, sizeBytes: 5 });
  expect(world.origin.asked).toHaveLength(1);
});

test('a store that cannot keep notes costs only a question', async () => {
  const world = build();
  world.notes.put = async () => {
    throw new Error('disk full');
  };
  world.origin.blobs.set(`ghcr.io/org/app@${layer}`, 5);
  const verdict = await world.open().mayRead({ repository, digest: layer, kind: 'blob' }, call());
  expect(verdict).toMatchObject({ allowed: true, sizeBytes: 5 });
});

test('a damaged note is ignored', async () => {
  const world = build();
  world.notes.held.set(`access/ghcr.io/org/app@${manifest}`, '{"t":');
  world.notes.held.set(`access/ghcr.io/org/app@${layer}`, '{"t":1,"c":[["x",1]]}');
  expect(await world.open().mayRead({ repository, digest: layer, kind: 'blob' }, call())).toMatchObject({
    allowed: false,
  });
});

test('a repository keeps a bounded number of digests, the newest', async () => {
  const world = build();
  const access = world.open();
  await world.public();
  for (let round = 0; round < 6; round++) {
    const children = Array.from({ length: 1000 }, (_, index) => child({ digest: sha256(`${round}/${index}`) }));
    await access.record(repository, { digest: sha256(`manifest ${round}`), sizeBytes: 1 }, children);
  }
  const oldest = await access.mayRead({ repository, digest: sha256('0/0'), kind: 'blob' }, call());
  const newest = await access.mayRead({ repository, digest: sha256('5/0'), kind: 'blob' }, call());
  expect([oldest.allowed, newest.allowed]).toEqual([false, true]);
  expect(world.notesUnder('access/')).toBe(4);
});
