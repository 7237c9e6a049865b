import { seededRandom } from '@shoal/swarm';
import { expect, test } from 'vitest';
import { FuzzFailure, fuzz } from './command.ts';
import { mutated } from './mutate.ts';
import { targets } from './targets.ts';

test.each(targets.map((target) => [target.name, target] as const))(
  '20,000 spoilt %s',
  async (_, target) => {
    await fuzz(target, 20_000, 1);
  },
  60_000,
);

test('a text for which something does not hold is told, and a seed repeats it', async () => {
  const target = {
    name: 'numbers',
    corpus: ['12345'],
    check(text: string) {
      if (text.includes('\0')) throw new Error('no zero');
    },
  };
  const failures = await Promise.all(
    [1, 1].map((seed) => fuzz(target, 100_000, seed).catch((error: unknown) => error)),
  );
  expect(failures[0]).toBeInstanceOf(FuzzFailure);
  expect(String(failures[0])).toMatch(/numbers: ".*\\u0000.*": no zero/);
  expect(String(failures[1])).toBe(String(failures[0]));
});

test('spoilt texts are of every kind: the good ones, others, and long ones, but never endless', () => {
  const random = seededRandom(1);
  const texts = Array.from({ length: 5_000 }, () => mutated(['abc', 'defghi'], random));
  expect(new Set(texts).size).toBeGreaterThan(1_500);
  expect(texts).toContain('abc');
  expect(Math.max(...texts.map(({ length }) => length))).toBeLessThanOrEqual(2_000);
});
