import { expect, test } from 'vitest';
import { RegistryPace } from './registry-pace.ts';

test('the usual time follows what readers have told of that registry lately', () => {
  const paces = new RegistryPace();
  expect(paces.usualMs('r', 1_000)).toBe(0);
  paces.note('r', 1_000, 100);
  expect(paces.usualMs('r', 1_000)).toBe(100);
  expect(paces.usualMs('other', 1_000)).toBe(0);
  for (let told = 0; told < 100; told++) paces.note('r', 1_000, 1_000);
  expect(paces.usualMs('r', 1_000)).toBeCloseTo(1_000, -1);
});
