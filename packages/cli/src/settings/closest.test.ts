import { expect, test } from 'vitest';
import { closest } from './closest.ts';

const keys = ['mirror', 'cache-size', 'join-token', 'tracker'];

test.each([
  ['cache_size', 'cache-size'],
  ['mirrro', 'mirror'],
  ['Tracker', 'tracker'],
  ['trackers', 'tracker'],
  ['jointoken', 'join-token'],
])('%s most likely meant %s', (word, expected) => {
  expect(closest(word, keys)).toBe(expected);
});

test('nothing near is nothing', () => {
  expect(closest('banana', keys)).toBeUndefined();
});
