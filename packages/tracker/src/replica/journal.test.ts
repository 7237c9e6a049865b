import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Journal } from './journal.ts';

const logger = pino({ level: 'silent' });

/** A shelf whose writes end when they are told to. */
class SlowShelf {
  readonly writes: { keys: string[]; end: (error?: Error) => void }[] = [];
  write(values: ReadonlyMap<string, unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      this.writes.push({ keys: [...values.keys()], end });
    });
  }
  async begun(count: number): Promise<void> {
    await expect.poll(() => this.writes.length, { interval: 1 }).toBe(count);
  }
}

test('what is noted while a write is under way goes with the next one, all of it at once', async () => {
  const shelf = new SlowShelf();
  const journal = new Journal({ shelf, logger, currentValue: () => 1 });
  journal.note('a');
  const first = journal.commit();
  await shelf.begun(1);
  journal.note('b');
  const second = journal.commit();
  journal.note('c');
  journal.note('b');
  const third = journal.commit();
  let done = 0;
  for (const each of [second, third]) void each.then(() => done++);
  shelf.writes[0]!.end();
  await first;
  await shelf.begun(2);
  expect(done).toBe(0);
  shelf.writes[1]!.end();
  await Promise.all([second, third]);
  expect(shelf.writes.map(({ keys }) => keys)).toEqual([['a'], ['b', 'c']]);
});

test('who noted nothing waits for the write under way, and what failed is written again', async () => {
  const shelf = new SlowShelf();
  const journal = new Journal({ shelf, logger, currentValue: () => 1 });
  journal.note('a');
  const failing = journal.commit();
  await shelf.begun(1);
  const waiting = journal.commit();
  shelf.writes[0]!.end(new Error('away'));
  await expect(failing).rejects.toThrow('away');
  await expect(waiting).rejects.toThrow('away');
  const again = journal.commit();
  await shelf.begun(2);
  shelf.writes[1]!.end();
  await again;
  expect(shelf.writes[1]!.keys).toEqual(['a']);
});
