import { type Digest, parseDigest } from '@shoal/oci';
import type { ReferenceLookup, ReferenceQuery, ReferenceRecord, ReferenceReport, ReferenceTurn } from '@shoal/wire';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { References, type ReferencesOptions } from './references.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const digestOf = (letter: string): Digest => parseDigest(`sha256:${letter.repeat(64)}`) as Digest;
const tag: ReferenceQuery = { registry: 'ghcr.io', repository: 'org/app', reference: 'v1', scope: 'public' };

class RecordedReferences {
  records: (ReferenceRecord & { by: string })[] = [];
  recordReference(record: ReferenceRecord, by: string): void {
    this.records.push({ ...record, by });
  }
  forgetReferencesBy(peerId: string): void {
    this.records = this.records.filter(({ by }) => by !== peerId);
  }
  findReference(query: ReferenceQuery): ReferenceRecord | undefined {
    return this.records.find(({ reference, scope }) => reference === query.reference && scope === query.scope);
  }
}

function open(options: ReferencesOptions = {}) {
  const state = new RecordedReferences();
  const references = new References(options, { state, clock: Date.now });
  return { state, references, ...callers(references) };
}

function callers(references: References) {
  return {
    ask: (agent: string, over: Partial<ReferenceLookup> = {}) =>
      Promise.resolve(references.ask(agent, { ...tag, accept: 'a', maxAgeMs: 30_000, waitMs: 1_500, ...over })),
    found: (agent: string, digest: Digest, over: Partial<Extract<ReferenceReport, { said: 'found' }>> = {}) =>
      references.report(agent, {
        ...tag,
        accept: 'a',
        said: 'found',
        digest,
        mediaType: 'm',
        sizeBytes: 7,
        resolvedAtMs: Date.now(),
        ...over,
      }),
    says: (agent: string, said: 'failed' | 'left') => references.report(agent, { ...tag, accept: 'a', said }),
    refused: (agent: string) => references.report(agent, { ...tag, accept: 'a', said: 'refused', code: 'not-found' }),
  };
}

const told = (letter: string, ageMs = 0) => ({
  turn: 'told',
  digest: digestOf(letter),
  mediaType: 'm',
  sizeBytes: 7,
  ageMs,
});

/** How each promise was answered so far. */
function watch(asked: Promise<ReferenceTurn>[]): () => Promise<(ReferenceTurn | undefined)[]> {
  const answers: (ReferenceTurn | undefined)[] = asked.map(() => undefined);
  asked.forEach((promise, index) => {
    void promise.then((turn) => {
      answers[index] = turn;
    });
  });
  return async () => {
    await vi.advanceTimersByTimeAsync(0);
    return answers;
  };
}

test('of those who ask at the same moment one asks the origin, and all get its answer', async () => {
  const { ask, found } = open();
  expect(await ask('one')).toEqual({ turn: 'ask' });
  const waiting = [ask('two'), ask('three'), ask('four')];
  await vi.advanceTimersByTimeAsync(400);
  found('one', digestOf('a'));
  expect(await Promise.all(waiting)).toEqual(Array(3).fill(told('a', 400)));
});

test('an answer is given as long as the one who asks calls it fresh, counted from before the origin was asked', async () => {
  const { ask, found } = open();
  await ask('one');
  await vi.advanceTimersByTimeAsync(300);
  found('one', digestOf('a'));
  await vi.advanceTimersByTimeAsync(699);
  expect(await ask('two', { maxAgeMs: 1_000 })).toEqual(told('a', 999));
  expect(await ask('two', { maxAgeMs: 999 })).toEqual({ turn: 'ask' });
  expect(await ask('three', { maxAgeMs: 5_000 })).toEqual(told('a', 999));
});

test('who dies with the turn is followed within 2 s, once, and its late answer still serves', async () => {
  const { ask, found } = open();
  await ask('one');
  const state = watch([ask('two', { waitMs: 1_500 }), ask('three')]);
  await vi.advanceTimersByTimeAsync(1_400);
  const late = watch([ask('four')]);
  await vi.advanceTimersByTimeAsync(100);
  expect([...(await state()), ...(await late())].filter((turn) => turn?.turn === 'ask')).toHaveLength(1);
  found('one', digestOf('b'));
  expect(await ask('five')).toEqual(told('b', 1_500));
});

test('who fails is followed at once by who waits longest', async () => {
  const { ask, says } = open();
  await ask('one');
  const state = watch([ask('two'), ask('three')]);
  says('one', 'failed');
  expect(await state()).toEqual([{ turn: 'ask' }, undefined]);
});

test('who asks again with the turn in hand is told so again', async () => {
  const { ask } = open();
  await ask('one');
  expect(await ask('one')).toEqual({ turn: 'ask' });
});

test('after three failures in a row everybody asks by themselves for a while, and then one at a time again', async () => {
  const { ask, says } = open({ openMs: 2_000 });
  await ask('one');
  const state = watch(['two', 'three', 'four', 'five'].map((agent) => ask(agent)));
  says('one', 'failed');
  says('two', 'failed');
  says('three', 'failed');
  expect(await state()).toEqual(Array(4).fill({ turn: 'ask' }));
  await vi.advanceTimersByTimeAsync(1_999);
  expect(await ask('six')).toEqual({ turn: 'ask' });
  await vi.advanceTimersByTimeAsync(1);
  expect(await ask('seven')).toEqual({ turn: 'ask' });
  expect(await ask('eight', { waitMs: 0 })).toEqual({ turn: 'wait', retryAfterMs: expect.any(Number) });
});

test('clients that leave are no sign against the origin', async () => {
  const { ask, says } = open();
  await ask('0');
  const others = ['1', '2', '3', '4', '5'].map((agent) => ask(agent));
  const state = watch(others);
  for (const agent of ['0', '1', '2', '3']) says(agent, 'left');
  expect(await state()).toEqual([...Array(4).fill({ turn: 'ask' }), undefined]);
});

test('nobody waits longer than it wants to', async () => {
  const { ask } = open();
  await ask('one');
  const waiting = ask('two', { waitMs: 700 });
  await vi.advanceTimersByTimeAsync(700);
  expect(await waiting).toEqual({ turn: 'wait', retryAfterMs: 0 });
});

test('a no that a second agent got, too, is shared with who waits and for a moment, and ends what was told before', async () => {
  const { ask, found, refused } = open({ refusedMs: 3_000 });
  await ask('one');
  found('one', digestOf('a'));
  await ask('two', { maxAgeMs: 0 });
  const waiting = watch(['three', 'four', 'five'].map((agent) => ask(agent, { maxAgeMs: 0 })));
  refused('two');
  expect(await waiting()).toEqual([{ turn: 'ask' }, undefined, undefined]);
  refused('three');
  const no = { turn: 'refused', code: 'not-found' };
  expect(await waiting()).toEqual([{ turn: 'ask' }, no, no]);
  await vi.advanceTimersByTimeAsync(2_999);
  expect(await ask('six')).toEqual(no);
  await vi.advanceTimersByTimeAsync(1);
  expect(await ask('six')).toEqual({ turn: 'ask' });
});

test('one agent alone cannot deny others a reference, however often it is told no', async () => {
  const { ask, found, refused } = open();
  await ask('odd');
  refused('odd');
  await ask('odd');
  const waiting = watch([ask('one'), ask('two')]);
  refused('odd');
  expect(await waiting()).toEqual([{ turn: 'ask' }, undefined]);
  found('one', digestOf('a'));
  expect((await waiting())[1]).toEqual(told('a'));
  await ask('two', { maxAgeMs: 0 });
  refused('two');
  expect(await ask('three')).toEqual(told('a'));
});

test('a no is doubted for as long as it would have counted', async () => {
  const { ask, refused } = open({ refusedMs: 3_000 });
  await ask('one');
  refused('one');
  await vi.advanceTimersByTimeAsync(3_000);
  await ask('two');
  refused('two');
  expect(await ask('three')).toEqual({ turn: 'ask' });
});

test('a no that comes late does not undo a later yes', async () => {
  const { ask, found, refused } = open();
  await ask('one');
  await vi.advanceTimersByTimeAsync(1_500);
  await ask('two');
  found('two', digestOf('a'));
  refused('one');
  expect(await ask('three')).toEqual(told('a'));
});

test('nothing is taken from who was not to ask, nor remembered for the time without an origin', async () => {
  const { ask, found, refused, state } = open();
  found('liar', digestOf('e'));
  expect(await ask('one')).toEqual({ turn: 'ask' });
  found('liar', digestOf('e'));
  refused('liar');
  const waiting = watch([ask('two')]);
  expect(await waiting()).toEqual([undefined]);
  found('one', digestOf('a'));
  expect(await waiting()).toEqual([told('a')]);
  found('two', digestOf('e'));
  found('one', digestOf('e'));
  expect(state.records.map(({ reference, digest, by }) => [reference, digest, by])).toEqual([
    ['v1', digestOf('a'), 'one'],
    [digestOf('a'), digestOf('a'), 'one'],
  ]);
});

test.each([
  { scope: 'other' },
  { scope: 'public ' },
  { accept: 'b' },
  { reference: 'v2' },
  { repository: 'org/other' },
  { registry: 'docker.io' },
])('an answer is not given to a question with %j', async (other) => {
  const { ask, found, refused } = open();
  await ask('one');
  expect(await ask('two', other)).toEqual({ turn: 'ask' });
  found('one', digestOf('a'));
  expect(await ask('two', other)).toEqual({ turn: 'ask' });
  expect(await ask('three', { ...other, reference: digestOf('a') })).toEqual(
    'reference' in other ? told('a') : { turn: 'ask' },
  );
  await ask('one', { maxAgeMs: 0 });
  refused('one');
  expect(await ask('two', other)).toEqual({ turn: 'ask' });
});

test('what a tag is also answers for its digest', async () => {
  const { ask, found, state } = open();
  await ask('one');
  const waiting = watch([ask('two', { reference: digestOf('a') }), ask('three', { reference: digestOf('a') })]);
  found('one', digestOf('a'));
  expect((await waiting())[1]).toEqual(told('a'));
  expect(state.records.map(({ reference }) => reference)).toEqual(['v1', digestOf('a')]);
});

test('what a member said is forgotten when it is barred, in both memories, and its turn given away', async () => {
  const { references, ask, found, state } = open();
  await ask('good', { reference: 'v2' });
  found('good', digestOf('b'), { reference: 'v2' });
  await ask('bad');
  found('bad', digestOf('a'));
  references.distrust('bad');
  expect(state.records.map(({ reference }) => reference)).toEqual(['v2', digestOf('b')]);
  await ask('bad');
  const waiting = watch([ask('one')]);
  references.distrust('bad');
  expect(await waiting()).toEqual([{ turn: 'ask' }]);
  found('bad', digestOf('e'));
  found('one', digestOf('a'));
  expect(await ask('two')).toEqual(told('a'));
});

test('the memory is bounded: the least recently asked goes first, and what nobody asked for an hour', async () => {
  const { references, ask } = open({ maxQuestions: 3 });
  for (const reference of ['a', 'b', 'c']) await ask('one', { reference });
  const waiting = ask('two', { reference: 'b' });
  await ask('three', { reference: 'a', waitMs: 0 });
  await ask('three', { reference: 'c', waitMs: 0 });
  await ask('one', { reference: 'd' });
  expect(references.size).toBe(3);
  expect(await waiting).toEqual({ turn: 'wait', retryAfterMs: expect.any(Number) });
  await vi.advanceTimersByTimeAsync(30 * 60_000);
  await ask('one', { reference: 'c', waitMs: 0 });
  await vi.advanceTimersByTimeAsync(30 * 60_000);
  references.expire(Date.now());
  expect(references.size).toBe(1);
});

test('closing ends all waiting', async () => {
  const { references, ask } = open();
  await ask('one');
  const waiting = [ask('two'), ask('three')];
  references.close();
  expect((await Promise.all(waiting)).map(({ turn }) => turn)).toEqual(['wait', 'wait']);
});

const step = fc.record({
  agent: fc.constantFrom('1', '2', '3', '4', '5', '6'),
  does: fc.constantFrom('ask', 'found', 'failed', 'left', 'refused', 'dies'),
  thenMs: fc.nat(900),
});

test('whatever agents do, everybody is answered in time, and no question gets stuck', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { ask, found, says, refused } = open();
      const asked: Promise<ReferenceTurn>[] = [];
      const askedAtMs: number[] = [];
      for (const { agent, does, thenMs } of steps) {
        if (does === 'ask') {
          asked.push(ask(agent));
          askedAtMs.push(Date.now());
        } else if (does === 'found') found(agent, digestOf('a'));
        else if (does === 'refused') refused(agent);
        else if (does !== 'dies') says(agent, does);
        await vi.advanceTimersByTimeAsync(thenMs);
      }
      const answersNow = await watch(asked)();
      // Everybody who asked more than the longest wait ago has an answer, and whoever is told something is told the truth.
      answersNow.forEach((turn, index) => {
        if (Date.now() - askedAtMs[index]! >= 1_500) expect(turn).toBeDefined();
        if (turn?.turn === 'told') expect(turn.digest).toBe(digestOf('a'));
      });
      // After a silence of one turn, the next who asks gets an answer or is told to ask.
      await vi.advanceTimersByTimeAsync(5_000);
      expect((await ask('7')).turn).not.toBe('wait');
    }),
    { numRuns: 200 },
  );
});
