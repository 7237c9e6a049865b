import { expect, test } from 'vitest';
import { RequestWindow } from './request-window.ts';

test('shrinks while pieces take longer than 2 s or do not come, down to 8, and grows back', () => {
  const window = new RequestWindow(32);
  for (let piece = 0; piece < 5; piece++) window.came(2_001);
  expect(window.size).toBe(27);
  for (let piece = 0; piece < 50; piece++) window.failed();
  expect(window.size).toBe(8);
  for (let piece = 0; piece < 50; piece++) window.came(100);
  expect(window.size).toBe(32);
});

test('of few that may be it stays at all of them', () => {
  const window = new RequestWindow(4);
  window.failed();
  expect(window.size).toBe(4);
});
