import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NotLeadingError } from '../replica/redis-shelf.ts';
import { FailingShelf } from './failing-shelf.fixture.ts';
import { State } from './state.ts';

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

async function open(): Promise<State> {
  const state = await State.open({}, { shelf, logger: pino({ level: 'silent' }), clock });
  states.push(state);
  return state;
}

const clock = () => 1_000_000;

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
