import type { NodeReport } from '@shoal/wire';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NodeReporter } from './node-reporter.ts';

const EVERY_MS = 2_000;
let links = 0;
let up = true;
let told: [path: string, body: unknown][] = [];
let reporter: NodeReporter;

function report(): NodeReport {
  const bytes = { fromOrigin: 0, fromPeers: 0, toPeers: 0, toClients: 0 };
  return { version: '1', links, pulls: [], bytes, cache: { bytes: 0, quotaBytes: 0, blobs: 0 } };
}

beforeEach(() => {
  vi.useFakeTimers();
  links = 0;
  up = true;
  told = [];
  const link = {
    get up() {
      return up;
    },
    tell: (path: string, body: unknown) => void told.push([path, body]),
  };
  reporter = new NodeReporter({ link, report, clock: Date.now, random: () => 0.5 });
});

afterEach(() => {
  reporter.close();
  vi.useRealTimers();
});

test('tells nothing unless it is asked to, at the asked pace while something changes, and no more once it is not asked', () => {
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  reporter.setEvery(EVERY_MS);
  for (let turn = 1; turn <= 4; turn++) {
    links = turn;
    vi.advanceTimersByTime(turn === 1 ? EVERY_MS / 2 : EVERY_MS);
    // Said with every announcement.
    reporter.setEvery(EVERY_MS);
  }
  expect(told.map(([path, body]) => [path, (body as NodeReport).links])).toEqual(
    [1, 2, 3, 4].map((n) => ['/v1/node', n]),
  );
  reporter.setEvery(undefined);
  links = 9;
  vi.advanceTimersByTime(60_000);
  expect(told).toHaveLength(4);
});

test('what has not changed is told every 30 s, and at once to a tracker that restarted', () => {
  reporter.setEvery(EVERY_MS);
  vi.advanceTimersByTime(89_000);
  expect(told).toHaveLength(3);
  reporter.forgetTold();
  vi.advanceTimersByTime(EVERY_MS);
  expect(told).toHaveLength(4);
});

test('tells nothing while the tracker is away, and goes on when it is back', () => {
  up = false;
  reporter.setEvery(EVERY_MS);
  vi.advanceTimersByTime(10_000);
  expect(told).toEqual([]);
  up = true;
  vi.advanceTimersByTime(EVERY_MS);
  expect(told).toHaveLength(1);
  reporter.close();
  links = 3;
  vi.advanceTimersByTime(10_000);
  expect(told).toHaveLength(1);
});

test('goes on telling while the pace changes with every announcement, as it does in a cluster that grows', () => {
  for (let members = 0; members < 60; members++) {
    links = members;
    reporter.setEvery(EVERY_MS + 2 * members);
    vi.advanceTimersByTime(EVERY_MS / 2);
  }
  expect(told.length).toBeGreaterThan(25);
});
