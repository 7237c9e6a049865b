import { type BlobId, blobIdOf, parseDigest } from '@shoal/oci';
import { DisputeTable, LeaseTable } from '@shoal/swarm';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { OrderBook } from '../orders/order-book.ts';
import { currentValue, DISPUTES_KEY, type HandedOver, keyOfBlob, keyOfOrder, takeOver } from './handover.ts';

const logger = pino({ level: 'silent' });
const blob = blobIdOf('a.test', parseDigest(`sha256:${'0'.repeat(64)}`) ?? expect.fail('no digest'));
const gone = blobIdOf('a.test', parseDigest(`sha256:${'1'.repeat(64)}`) ?? expect.fail('no digest'));

function nothingYet(): HandedOver {
  let ids = 0;
  const agents = [{ peerId: 'id-one', zone: 'a', name: 'one', takesOrders: true }];
  return {
    leases: new LeaseTable({ leaseTtlMs: 2_000 }, { newLeaseId: () => `lease-${ids++}` }),
    disputes: new DisputeTable(),
    orders: new OrderBook({}, { newId: () => `order-${ids++}`, agents: () => agents, isSuspended: () => false }),
  };
}

/** What the shelf gives back is JSON. */
function shelfOf(values: Record<string, unknown>) {
  return {
    async *entries(): AsyncGenerator<[string, unknown]> {
      for (const [key, value] of Object.entries(values)) yield [key, JSON.parse(JSON.stringify(value))];
    },
  };
}

test('a successor lends, judges and orders as the one before would have', async () => {
  const before = nothingYet();
  const ask = { blob, agent: 'id-one', zone: 'a', registry: 'a.test', sizeBytes: 1e9, starved: false };
  const lease = before.leases.request(ask, 0);
  const said = { blob, sizeBytes: 1e9, index: 3, accused: 'liar', claimed: 'wrong', by: 'auditor', says: 'right' };
  before.disputes.report(said, 9, 0);
  before.disputes.witnessFor(blob, 'witness', 0);
  const order = before.orders.place('id-one', { images: ['a.test/app:v1'], platform: 'linux/arm64' }, 0);
  const ended = before.orders.place('id-one', { images: ['a.test/app:v2'] }, 1);
  before.orders.cancel(ended.id, 2);
  const keys = [keyOfBlob(blob), keyOfBlob(gone), keyOfOrder(order.id), keyOfOrder(ended.id), DISPUTES_KEY];
  const values = Object.fromEntries(keys.map((key) => [key, currentValue(key, before, 3)]));
  expect(values[keyOfBlob(gone)]).toBeUndefined();
  delete values[keyOfBlob(gone)];

  const after = nothingYet();
  expect(await takeOver(shelfOf(values), after, { nowMs: 1_000, logger })).toEqual(new Set<BlobId>([blob]));
  if (!lease.granted) throw new Error('refused');
  expect(after.leases.renew(lease.leaseId, 'id-one', { bytes: 1, next: 0 }, 2_999).held).toBe(true);
  expect(after.disputes.suspended(1_000)).toEqual(['liar']);
  expect(after.disputes.testify({ blob, index: 3, by: 'witness', says: 'right' }, 9, 1_001)).toEqual({
    barred: ['liar'],
  });
  expect(after.orders.list()).toEqual(before.orders.list());
  expect(after.orders.tasks('id-one')).toEqual([{ id: order.id, images: ['a.test/app:v1'], platform: 'linux/arm64' }]);
  const done = { id: order.id, state: 'done', doneBytes: 1, fromPeers: 0, fromOrigin: 1 } as const;
  expect(after.orders.progress('id-one', done, 1_002)).toEqual({ wanted: false });
  expect(after.orders.find(order.id)?.state).toBe('ended');
});

test('what does not fit is left out, and the rest is taken over', async () => {
  const before = nothingYet();
  before.orders.place('id-one', { images: ['a.test/app:v1'] }, 0);
  const good = currentValue(keyOfOrder('order-0'), before, 0);
  const values = {
    [keyOfBlob(blob)]: { sizeBytes: -1 },
    'blob!nonsense': {},
    [DISPUTES_KEY]: [{ blob: 'nonsense' }],
    [keyOfOrder('bad')]: 7,
    [keyOfOrder('order-0')]: good,
    else: null,
  };
  const after = nothingYet();
  await takeOver(shelfOf(values), after, { nowMs: 0, logger });
  expect(after.leases.knows(blob)).toBe(false);
  expect(after.disputes.size).toBe(0);
  expect(after.orders.list().map(({ id }) => id)).toEqual(['order-0']);
});
