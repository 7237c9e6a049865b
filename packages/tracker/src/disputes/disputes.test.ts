import type { BlobId } from '@shoal/oci';
import { DisputeTable } from '@shoal/swarm';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NOTHING_COUNTED, TrackerMetrics } from '../api/metrics.ts';
import { attestationBy, TestMembers } from '../members/members.fixture.ts';
import { FailingShelf } from '../state/failing-shelf.fixture.ts';
import { State } from '../state/state.ts';
import { Disputes } from './disputes.ts';

const piece = { blob: `a.test/sha256:${'b'.repeat(64)}` as BlobId, sizeBytes: 1, index: 0 };
const logger = pino({ level: 'silent' });
const soon = { timeout: 5_000, interval: 10 };
let shelf: FailingShelf;
let state: State;

beforeEach(async () => {
  shelf = await FailingShelf.open();
  state = await State.open({}, { shelf, logger, clock: Date.now });
});
afterEach(async () => {
  await state.close();
  await shelf.remove();
});

test('a bar that the store does not take at once is made all the same, and written before the dispute counts as settled', async () => {
  const members = new TestMembers();
  const [liar, reporter] = [await members.join(), await members.join()];
  const forgotten: string[] = [];
  let changes = 0;
  const disputes = new Disputes({
    table: new DisputeTable(),
    membership: members.membership,
    state,
    metrics: new TrackerMetrics(() => NOTHING_COUNTED),
    logger,
    clock: Date.now,
    countOthers: () => 1,
    onSuspected: () => undefined,
    onBarred: (peerId) => forgotten.push(peerId),
    onChange: () => changes++,
  });
  shelf.failure = new Error('away');
  const report = { ...piece, claim: attestationBy(liar, piece, 1), counter: attestationBy(reporter, piece, 2) };
  const said = disputes.report({ peerId: reporter.peerId, zone: 'a' }, report);
  await expect.poll(() => shelf.failed, soon).toBeGreaterThan(1);
  expect(forgotten).toEqual([liar.peerId]);
  expect(disputes.avoided()).toEqual([liar.peerId]);
  expect(changes).toBe(0);

  shelf.failure = undefined;
  expect(await said).toEqual({ barred: [liar.peerId] });
  expect(changes).toBe(1);
  expect(await shelf.keys('barred!')).toEqual([`barred!${liar.peerId}`]);
});
