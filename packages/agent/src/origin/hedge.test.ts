import type { Digest } from '@shoal/oci';
import { expect, test } from 'vitest';
import { hedged } from './hedge.ts';
import { call, clientFor, collect, REPOSITORY, serve } from './scripted-server.test-support.ts';

const never = new AbortController().signal;
const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;

/** Attempts that are settled by hand, in the order they were made. */
function attempts() {
  const made: (PromiseWithResolvers<string> & { signal: AbortSignal })[] = [];
  const start = (signal: AbortSignal, onSent: () => void) => {
    onSent();
    const attempt = Object.assign(Promise.withResolvers<string>(), { signal });
    made.push(attempt);
    return attempt.promise;
  };
  return { made, start };
}

test('an answer in time is the only one asked for, and so is a failure', async () => {
  const { made, start } = attempts();
  const answered = hedged(1_000, never, start, () => {});
  made[0]?.resolve('first');
  expect(await answered).toBe('first');
  const failed = hedged(1_000, never, start, () => {});
  made[1]?.reject(new Error('no'));
  await expect(failed).rejects.toThrow('no');
  expect(made).toHaveLength(2);
});

test.each([0, 1])('of two under way the first to answer counts (%i), and the other one is stopped', async (winner) => {
  const { made, start } = attempts();
  const late: string[] = [];
  const answered = hedged(5, never, start, (answer) => void late.push(answer));
  await expect.poll(() => made.length).toBe(2);
  made[winner]?.resolve('winner');
  expect(await answered).toBe('winner');
  expect(made.map(({ signal }) => signal.aborted)).toEqual(winner === 0 ? [false, true] : [true, false]);
  made[1 - winner]?.resolve('late');
  await expect.poll(() => late).toEqual(['late']);
});

test('one that fails leaves it to the other; when both fail, the first one says why', async () => {
  const { made, start } = attempts();
  const answered = hedged(5, never, start, () => {});
  await expect.poll(() => made.length).toBe(2);
  made[0]?.reject(new Error('first'));
  made[1]?.resolve('second');
  expect(await answered).toBe('second');
  const failed = hedged(5, never, start, () => {});
  await expect.poll(() => made.length).toBe(4);
  made[3]?.reject(new Error('second'));
  made[2]?.reject(new Error('first'));
  await expect(failed).rejects.toThrow('first');
});

test('a request that has no connection yet is not asked a second time', async () => {
  let made = 0;
  const answer = Promise.withResolvers<string>();
  const answered = hedged(
    5,
    never,
    () => {
      made++;
      return answer.promise;
    },
    () => {},
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  answer.resolve('at last');
  expect([await answered, made]).toEqual(['at last', 1]);
});

test('a registry that swallows one request for a blob is asked again before anybody gives up', async () => {
  const registry = await serve((_, response) => {
    if (registry.log.length > 1) response.end('bytes');
  });
  const { chunks } = await clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await collect(chunks)).toString()).toBe('bytes');
  expect(registry.log).toHaveLength(2);
});
