import { expect, test } from 'vitest';
import { IdleMemory } from './idle-memory.ts';

test('memory is given back once after each time of work, and only by a program that idles', () => {
  let times = 0;
  const memory = new IdleMemory(() => times++);
  const after = (...shares: readonly number[]): number => {
    for (const share of shares) memory.look(share);
    return times;
  };
  expect(after(0.9, 0.5)).toBe(0);
  expect(after(0.001)).toBe(1);
  // What the giving back itself took, and the announcements of an idle agent, are no work.
  expect(after(0.03, 0, 0.001)).toBe(1);
  expect(after(0.6, 0.08)).toBe(1);
  expect(after(0)).toBe(2);
});
