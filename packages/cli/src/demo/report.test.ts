import { expect, test } from 'vitest';
import { type DemoNumbers, demoJson, demoReport } from './report.ts';

const MB = 1_000_000;
const NUMBERS: DemoNumbers = {
  imageBytes: 312 * MB,
  blobs: 7,
  originBytes: 313 * MB,
  originRequests: 42,
  failedPulls: 0,
  perNode: [
    { node: 'node-1', seconds: 4.24, bytesFromPeers: 230 * MB, bytesFromOrigin: 82 * MB, bytesFromStore: 0 },
    { node: 'node-2', seconds: 11.06, bytesFromPeers: 81 * MB, bytesFromOrigin: 231 * MB, bytesFromStore: 0 },
  ],
};

test('a table per node, then what the origin was spared', () => {
  expect(demoReport(NUMBERS)).toBe(
    `${[
      'node       time   from peers   from origin   from its store',
      'node-1    4.2 s     230.0 MB       82.0 MB           0.0 MB',
      'node-2   11.1 s      81.0 MB      231.0 MB           0.0 MB',
      'all      11.1 s     311.0 MB      313.0 MB           0.0 MB',
      '',
      'every byte on every node was checked against its SHA-256: 2 of 2 pulls are identical',
      'the image has 312.0 MB in 7 objects; the origin sent 313.0 MB in 42 requests',
      'without Shoal the origin would have sent 2 × 312.0 MB = 624.0 MB; it sent 313.0 MB (1.00 ×)',
      "saved: 311.0 MB, 49.8 % of the origin's traffic",
    ].join('\n')}\n`,
  );
});

test('a failed pull is said plainly and no identity is claimed', () => {
  const [first, second] = NUMBERS.perNode;
  const report = demoReport({ ...NUMBERS, failedPulls: 1, perNode: [first!, { ...second!, seconds: undefined }] });
  expect(report).toContain('1 of 2 pulls FAILED');
  expect(report).toMatch(/node-2 +failed /);
  expect(report).not.toContain('identical');
});

test('when every pull failed, all of them did', () => {
  const perNode = NUMBERS.perNode.map((node) => ({ ...node, seconds: undefined }));
  expect(demoReport({ ...NUMBERS, failedPulls: 2, perNode })).toMatch(/^all +failed /m);
});

test('no saving is claimed when there is none', () => {
  expect(demoReport({ ...NUMBERS, originBytes: 700 * MB })).not.toContain('saved');
});

test('when nothing was pulled there is no ratio to tell', () => {
  const report = demoReport({ ...NUMBERS, imageBytes: 0, failedPulls: 2 });
  expect(report).not.toContain('NaN');
  expect(report).not.toContain('without Shoal');
});

test('the JSON has every field of the contract', () => {
  expect(demoJson(NUMBERS)).toEqual({
    nodes: 2,
    imageBytes: 312 * MB,
    blobs: 7,
    originBytes: 313 * MB,
    originRequests: 42,
    originBytesRatio: 1.0032,
    peerBytes: 311 * MB,
    makespanSeconds: 11.06,
    failedPulls: 0,
    perNode: NUMBERS.perNode,
  });
});

test('a failed pull has null seconds in JSON', () => {
  const [first] = NUMBERS.perNode;
  const json = demoJson({ ...NUMBERS, perNode: [{ ...first!, seconds: undefined }] });
  expect(json.perNode[0]?.seconds).toBeNull();
  expect(json.makespanSeconds).toBe(0);
});
