import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { type Leader, Leadership, LOCK_TTL_MS } from './leadership.ts';

const logger = pino({ level: 'silent' });
const running: Leadership[] = [];
afterEach(async () => {
  for (const each of running.splice(0)) await each.resign();
});

/** One key with an end, as the scripts use it; the real one is tried in test/integration. */
class OneKey {
  value: string | undefined;
  endsAtMs = 0;
  isAway = false;
  /** It does what it is told, but its answers come too late. */
  isLate = false;
  async run(script: string, keys: readonly string[], values: readonly (string | number)[]): Promise<unknown> {
    const answer = await this.#run(script, keys, values);
    if (this.isLate) throw new Error('timed out');
    return answer;
  }
  async #run(script: string, _keys: readonly string[], [fence, ttlMs]: readonly (string | number)[]): Promise<unknown> {
    if (this.isAway) throw new Error('away');
    if (performance.now() >= this.endsAtMs) this.value = undefined;
    if (script.includes("'DEL'")) {
      if (this.value === fence) this.value = undefined;
      return 0;
    }
    if (this.value !== undefined && this.value !== fence) return this.value;
    [this.value, this.endsAtMs] = [String(fence), performance.now() + Number(ttlMs)];
    return fence;
  }
}

function candidate(redis: OneKey, name: string, { delayMs = (): number => 0 } = {}) {
  const seen: string[] = [];
  const leaders: (Leader | undefined)[] = [];
  const leadership = new Leadership(
    { key: 'k', url: `https://${name}.test:1` },
    {
      redis,
      logger,
      monotonic: () => performance.now() + delayMs(),
      onTaken: () => seen.push('taken'),
      onLost: () => seen.push('lost'),
      onLeader: (leader) => leaders.push(leader),
    },
  );
  running.push(leadership);
  return { leadership, seen, leaders };
}

const soon = { timeout: 5_000, interval: 10 };

test('one of two leads, the other knows who; it takes over when the first resigns', async () => {
  const redis = new OneKey();
  const [one, two] = [candidate(redis, 'one'), candidate(redis, 'two')];
  await one.leadership.start();
  await two.leadership.start();
  expect([one.leadership.leads, two.leadership.leads]).toEqual([true, false]);
  expect(two.leaders.map((leader) => leader?.url)).toEqual(['https://one.test:1']);
  await one.leadership.resign();
  expect(one.seen).toEqual(['taken', 'lost']);
  await expect.poll(() => two.leadership.leads, soon).toBe(true);
});

test('a leader that cannot renew its key stops before another one can have it', async () => {
  const redis = new OneKey();
  const one = candidate(redis, 'one');
  await one.leadership.start();
  redis.isAway = true;
  await expect.poll(() => one.leadership.leads, soon).toBe(false);
  expect(performance.now()).toBeLessThan(redis.endsAtMs);
  await expect.poll(() => one.seen, soon).toEqual(['taken', 'lost']);
  redis.isAway = false;
  await expect.poll(() => one.leadership.leads, soon).toBe(true);
});

test('a leader that hears nothing does not wait for what it sent last, when that has arrived', async () => {
  const redis = new OneKey();
  const one = candidate(redis, 'one');
  await one.leadership.start();
  redis.isLate = true;
  await expect.poll(() => one.seen, soon).toEqual(['taken', 'lost']);
  redis.isLate = false;
  await expect.poll(() => one.leadership.leads, soon).toBe(true);
  // It never took its own former tenure for another tracker.
  expect(one.leaders).toEqual([]);
});

test('one that was held up for longer than its key lived begins anew, though nobody else led meanwhile', async () => {
  const redis = new OneKey();
  let delayMs = 0;
  const one = candidate(redis, 'one', { delayMs: () => delayMs });
  await one.leadership.start();
  const before = redis.value;
  delayMs = LOCK_TTL_MS;
  expect(one.leadership.leads).toBe(false);
  await expect.poll(() => one.seen, soon).toEqual(['taken', 'lost', 'taken']);
  expect(redis.value).not.toBe(before);
});

test('a store that forgot everything and gave the key to another one ends the tenure', async () => {
  const redis = new OneKey();
  const one = candidate(redis, 'one');
  await one.leadership.start();
  const other = JSON.stringify({ tenure: 'other', url: 'https://other.test:1' });
  [redis.value, redis.endsAtMs] = [other, performance.now() + 60_000];
  await expect.poll(() => one.seen, soon).toEqual(['taken', 'lost']);
  expect(one.leaders.at(-1)).toEqual({ tenure: 'other', url: 'https://other.test:1' });
});
