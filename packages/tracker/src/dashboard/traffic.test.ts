import { expect, test } from 'vitest';
import { reportOf } from './rooms.fixture.ts';
import { MAX_SAMPLES, SAMPLE_EVERY_MS, Traffic } from './traffic.ts';

const counters = (fromOrigin: number, toClients: number) => ({ ...reportOf().bytes, fromOrigin, toClients });

test('what moved between two reports counts where it is told, without gaps in between', () => {
  const traffic = new Traffic();
  traffic.moved(counters(100, 0), counters(150, 30), 2_000, 1_000);
  traffic.moved(counters(150, 30), counters(160, 90), 2_000, 3 * SAMPLE_EVERY_MS + 1);
  const samples = traffic.samples(4 * SAMPLE_EVERY_MS);
  expect(samples.map(({ atMs }) => atMs / SAMPLE_EVERY_MS)).toEqual([0, 1, 2, 3, 4]);
  expect(samples.map(({ fromOrigin }) => fromOrigin)).toEqual([50, 0, 0, 10, 0]);
  expect(traffic.total).toEqual({ fromOrigin: 60, fromPeers: 0, toClients: 90 });
});

test('an agent that started again counts from nothing', () => {
  const traffic = new Traffic();
  traffic.moved(counters(5_000, 0), counters(70, 0), 2_000, 0);
  expect(traffic.total.fromOrigin).toBe(70);
});

test('no member moves more than a link carries, whatever it says', () => {
  const traffic = new Traffic();
  traffic.moved(counters(0, 0), counters(Number.MAX_SAFE_INTEGER, 0), 2_000, 0);
  expect(traffic.total.fromOrigin).toBe(25_000_000_000);
});

test('what is kept is bounded, and a clock that was set back breaks nothing', () => {
  const traffic = new Traffic();
  for (const atMs of [0, 1e6, 1e9, 2e9]) traffic.moved(counters(0, 0), counters(1, 0), 1_000, atMs);
  traffic.moved(counters(0, 0), counters(1, 0), 1_000, 0);
  const samples = traffic.samples(2e9);
  expect(samples).toHaveLength(MAX_SAMPLES);
  expect(samples.at(-1)).toMatchObject({ atMs: 2e9, fromOrigin: 2 });
});
