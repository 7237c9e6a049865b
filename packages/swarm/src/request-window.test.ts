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

test('a peer may bring nothing for 2 s, and longer where pieces take long, up to 6 s', () => {
  const window = new RequestWindow(8);
  expect(window.deadlineMs).toBe(2_000);
  for (let piece = 0; piece < 100; piece++) window.came(100);
  expect(window.deadlineMs).toBe(2_000);
  for (let piece = 0; piece < 100; piece++) window.came(1_500);
  expect(window.deadlineMs).toBeCloseTo(4_500, -1);
  for (let piece = 0; piece < 100; piece++) window.came(9_000);
  expect(window.deadlineMs).toBe(6_000);
});
