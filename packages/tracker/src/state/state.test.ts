import { type Digest, parseDigest } from '@shoal/oci';
import type { ReferenceRecord } from '@shoal/wire';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NotLeadingError } from '../replica/redis-shelf.ts';
import { FailingShelf } from './failing-shelf.fixture.ts';
import { State, type StateOptions } from './state.ts';

const away = new Error('away');
const soon = { timeout: 5_000, interval: 10 };
let shelf: FailingShelf;
let states: State[];

beforeEach(async () => {
  shelf = await FailingShelf.open();
  states = [];
});
afterEach(async () => {
  for (const state of states) await state.close();
  await shelf.remove();
});

async function open(options: StateOptions = {}): Promise<State> {
  const state = await State.open({ againMs: 50, ...options }, { shelf, logger: pino({ level: 'silent' }), clock });
  states.push(state);
  return state;
}

const clock = () => 1_000_000;
const record = (reference: string, letter = 'a', resolvedAtMs = 1_000): ReferenceRecord => ({
  ...{ registry: 'a.test', repository: 'org/app', reference, scope: 'public', mediaType: 'm', sizeBytes: 1 },
  ...{ digest: parseDigest(`sha256:${letter.repeat(64)}`) as Digest, resolvedAtMs },
});

test('a bar counts at once, and is written as soon as the store answers again', async () => {
  const state = await open();
  shelf.failure = away;
  const written = state.bar('liar', 'lied');
  expect(state.isBarred('liar')).toBe(true);
  await expect.poll(() => shelf.failed, soon).toBeGreaterThan(1);
  shelf.failure = undefined;
  await written;
  expect((await open()).isBarred('liar')).toBe(true);
});

test('who waits for a bar hears that another leads, or that this state ended before it was written', async () => {
  const state = await open();
  shelf.failure = new NotLeadingError();
  await expect(state.bar('one', 'lied')).rejects.toThrow(NotLeadingError);
  shelf.failure = away;
  const written = state.bar('two', 'lied');
  written.catch(() => undefined);
  await expect.poll(() => shelf.failed, soon).toBeGreaterThan(1);
  await state.close();
  await expect(written).rejects.toThrow(NotLeadingError);
});

test.each([false, true])(
  'what a barred member said of tags does not come back from the store',
  async (referencesLater) => {
    const before = await open();
    before.recordReference(record('evil'), 'liar');
    before.recordReference(record('good'), 'honest');
    await before.flush();
    await before.bar('liar', 'lied');
    const state = await open({ referencesLater });
    await expect.poll(() => state.findReference(record('good')), soon).toBeDefined();
    expect(state.findReference(record('evil'))).toBeUndefined();
    await state.flush();
    expect(await shelf.keys('reference3!')).toEqual([expect.stringContaining('"good"')]);
  },
);

test('references that were not written are written later, as they are by then', async () => {
  const state = await open();
  state.recordReference(record('old'), 'm');
  state.recordReference(record('changed'), 'm');
  state.recordReference(record('forgotten'), 'liar');
  shelf.failure = away;
  await state.flush();
  expect(shelf.failed).toBe(1);
  state.recordReference(record('changed', 'b', 2_000), 'm');
  state.forgetReferencesBy('liar');
  shelf.failure = undefined;
  await expect.poll(async () => (await shelf.keys('reference3!')).length, soon).toBe(2);
  const next = await open();
  expect(next.findReference(record('old'))).toEqual(record('old'));
  expect(next.findReference(record('changed'))).toEqual(record('changed', 'b', 2_000));
  expect(next.referenceCount).toBe(2);
});

test('references that are read behind are read again when that failed, and what was said since stays', async () => {
  const before = await open();
  before.recordReference(record('old'), 'm');
  before.recordReference(record('changed'), 'm');
  before.recordReference(record('evil'), 'liar');
  await before.flush();
  // The bars are read first, and those are there.
  [shelf.failure, shelf.failing] = [away, 'reference'];
  const state = await open({ referencesLater: true });
  state.recordReference(record('changed', 'b', 2_000), 'm');
  state.forgetReferencesBy('liar');
  await expect.poll(() => shelf.failed, soon).toBeGreaterThan(1);
  expect(state.findReference(record('old'))).toBeUndefined();
  shelf.failure = undefined;
  await expect.poll(() => state.findReference(record('old')), soon).toBeDefined();
  expect(state.findReference(record('changed'))).toEqual(record('changed', 'b', 2_000));
  expect(state.findReference(record('evil'))).toBeUndefined();
});
