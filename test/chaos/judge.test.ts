import { expect, test } from 'vitest';
import type { FaultKind, FaultRecord, Place } from './fault.ts';
import { PULL_DEADLINE_MS, type PullRecord, verdictOf } from './judge.ts';

const MANIFEST_AND_LAYER = [['node-2'], ['node-2', 'node-3']] as const;
const NOBODY_HAS_THE_LAYER = [['node-2'], []] as const;

function pull(more: Partial<PullRecord> = {}): PullRecord {
  const held = { holders: NOBODY_HAS_THE_LAYER };
  return { node: 'node-1', image: 'app', beganMs: 50_000, endedMs: 55_000, ...failed, ...held, ...more };
}
const well = { failure: undefined, isComplete: true };
const failed = { failure: 'connection refused', isComplete: false };

function fault(kind: FaultKind, place: Place, beganMs: number, endedMs: number | undefined): FaultRecord {
  return { kind, place, beganMs, endedMs };
}

test('a pull that ended well and is complete went as it must, whatever was broken', () => {
  expect(verdictOf(pull(well), [])).toEqual({ type: 'well' });
  expect(verdictOf(pull(well), [fault('origin-cut', 'origin', 0, undefined)])).toEqual({ type: 'well' });
});

test.each<[what: string, PullRecord, FaultRecord[], words: RegExp]>([
  ['without its content', pull({ failure: undefined }), [], /not complete/],
  ['that took long while nothing was broken', pull({ ...well, endedMs: 110_001 }), [], /took 60 s/],
  [
    'that took too long, whatever was broken',
    pull({ ...well, endedMs: 50_001 + PULL_DEADLINE_MS }),
    [fault('origin-cut', 'origin', 0, undefined)],
    /took 120 s/,
  ],
  ['that failed while nothing was broken', pull(), [], /could be reached: connection refused/],
  ['whose own agent alone was dead', pull(), [fault('agent-killed', 'node-1', 49_000, 52_000)], /could be reached/],
  ['that failed after the outage', pull(), [fault('origin-cut', 'origin', 40_000, 49_999)], /could be reached/],
  ['that failed before the outage', pull(), [fault('origin-cut', 'origin', 55_001, undefined)], /could be reached/],
  ["that failed by another node's link", pull(), [fault('link-cut', 'node-2', 50_000, 54_000)], /could be reached/],
  [
    'of what others held, in an outage',
    pull({ holders: MANIFEST_AND_LAYER }),
    [fault('origin-sick', 'origin', 51_000, 52_000)],
    /all of the image was within reach: connection refused/,
  ],
  [
    "of what others held, and this node's agent had come back long ago",
    pull({ holders: MANIFEST_AND_LAYER }),
    [fault('origin-sick', 'origin', 51_000, 52_000), fault('agent-killed', 'node-1', 30_000, 39_000)],
    /within reach/,
  ],
])('a pull %s is not as it must be', (_what, record, faults, words) => {
  expect(verdictOf(record, faults)).toMatchObject({ type: 'failed', reason: expect.stringMatching(words) });
});

test.each<[what: string, PullRecord, FaultRecord]>([
  ['the registry is cut off', pull(), fault('origin-cut', 'origin', 54_000, undefined)],
  ['the link of its node is cut', pull(), fault('link-cut', 'node-1', 45_000, 50_000)],
])('a pull of what nobody holds is excused while %s', (_what, record, outage) => {
  const and = { type: 'held-by-nobody', blobs: 1 };
  expect(verdictOf(record, [outage])).toEqual({ type: 'excused', because: [outage], and });
});

test.each([
  ['the only holder is stopped', fault('agent-stopped', 'node-2', 48_000, 53_000)],
  ['its own agent has just come back', fault('agent-drained', 'node-1', 43_000, 44_000)],
  ['the tracker is gone', fault('tracker-killed', 'tracker', 43_000, undefined)],
])('a pull of what others hold is excused in an outage while %s too', (_what, other) => {
  const outage = fault('origin-killed', 'origin', 51_000, 52_000);
  const verdict = verdictOf(pull({ holders: MANIFEST_AND_LAYER }), [outage, other]);
  expect(verdict).toEqual({ type: 'excused', because: [outage], and: { type: 'in-the-way', faults: [other] } });
});

test("another holder's fault is no excuse for what somebody else holds", () => {
  const faults = [
    fault('origin-killed', 'origin', 51_000, 52_000),
    fault('agent-killed', 'node-3', 48_000, undefined),
    fault('disk-full', 'node-4', 48_000, undefined),
  ];
  expect(verdictOf(pull({ holders: MANIFEST_AND_LAYER }), faults)).toMatchObject({ type: 'failed' });
});
