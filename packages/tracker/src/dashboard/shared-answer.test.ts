import { expect, test } from 'vitest';
import { SharedAnswer } from './shared-answer.ts';

test('what takes long to make serves long: making it takes no more than a twentieth of the time, whoever asks', () => {
  let nowMs = 0;
  let made = 0;
  const answer = new SharedAnswer(
    () => {
      nowMs += 100;
      return { made: ++made };
    },
    { now: () => nowMs },
  );
  const startedMs = nowMs;
  for (let asked = 0; asked < 10_000; asked++) {
    answer.text();
    nowMs += 10;
  }
  expect((made * 100) / (nowMs - startedMs)).toBeLessThanOrEqual(1 / 20);
  expect(made).toBeGreaterThan(40);
  expect(answer.text()).toBe(`{"made":${made}}`);
});

test('what is made in no time is made anew every half second', () => {
  let nowMs = 0;
  let made = 0;
  const answer = new SharedAnswer(() => ({ made: ++made }), { now: () => nowMs });
  for (; nowMs < 2_000; nowMs += 100) answer.text();
  expect(made).toBe(4);
});
