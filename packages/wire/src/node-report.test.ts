import { expect, test } from 'vitest';
import { MAX_REPORTED_PULLS, nodeReportSchema } from './node-report.ts';
import { announceAnswerSchema } from './tracker-api.ts';

const blob = `registry.test/sha512:${'a'.repeat(128)}`;
const pull = { blob, repository: 'r'.repeat(256), sizeBytes: 2 ** 53 - 1, heldBytes: 0, fromOrigin: 0, fromPeers: 0 };
const report = {
  version: 'v'.repeat(32),
  links: 12,
  pulls: Array.from({ length: MAX_REPORTED_PULLS }, () => pull),
  bytes: { fromOrigin: 2 ** 53 - 1, fromPeers: 0, toPeers: 0, toClients: 0 },
  cache: { bytes: 0, quotaBytes: 0, blobs: 0 },
};
const answer = { peers: [], swarms: [], barred: [], members: 3 };

test('the largest report fits into what the tracker takes of a small call', () => {
  expect(nodeReportSchema.safeParse(report).success).toBe(true);
  expect(JSON.stringify(report).length).toBeLessThan(16 * 1024);
});

test.each([
  ['more pulls', { ...report, pulls: [...report.pulls, pull] }],
  ['a longer version', { ...report, version: 'v'.repeat(33) }],
  ['no blob', { ...report, pulls: [{ ...pull, blob: '<script>' }] }],
  ['a negative count', { ...report, bytes: { ...report.bytes, toPeers: -1 } }],
  ['a size beyond what is counted exactly', { ...report, cache: { ...report.cache, bytes: 2 ** 53 } }],
])('a report with %s is none', (_what, wrong) => {
  expect(nodeReportSchema.safeParse(wrong).success).toBe(false);
});

test('an answer is read by an agent whatever its tracker says of reports, or says nothing of them', () => {
  expect(announceAnswerSchema.parse(answer).reportEveryMs).toBeUndefined();
  expect(announceAnswerSchema.parse({ ...answer, reportEveryMs: 2_000 }).reportEveryMs).toBe(2_000);
  for (const odd of [0, -1, 1.5, 1e9, 'soon', null]) {
    expect(announceAnswerSchema.parse({ ...answer, reportEveryMs: odd }).reportEveryMs).toBeUndefined();
  }
});
