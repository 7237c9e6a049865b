import type { BlobId } from '@shoal/oci';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LeaseTable } from './lease-table.ts';

const MiB = 1024 * 1024;
const BLOB = `a.test/sha256:${'0'.repeat(64)}` as BlobId;
const SIZE = 64 * MiB;
const ask = { blob: BLOB, zone: 'a', registry: 'a.test', sizeBytes: SIZE, starved: false, others: true };

function newTable(changed: Set<BlobId> = new Set()): LeaseTable {
  let count = 0;
  const name = Math.random().toString(36).slice(2);
  return new LeaseTable(
    { leaseTtlMs: 2_000 },
    { newLeaseId: () => `${name}-${count++}`, onChange: (blob) => changed.add(blob) },
  );
}

/** As it would be behind a store. */
function successorOf(table: LeaseTable, nowMs: number): LeaseTable {
  const successor = newTable();
  successor.restore(BLOB, JSON.parse(JSON.stringify(table.save(BLOB, nowMs))), nowMs);
  return successor;
}

function granted(reply: ReturnType<LeaseTable['request']>) {
  if (!reply.granted) throw new Error('refused');
  return reply;
}

test('a successor gives out what is unread and nothing that is being read or was read', () => {
  const table = newTable();
  const first = granted(table.request({ ...ask, agent: 'one' }, 0));
  table.renew(first.leaseId, 'one', { bytes: MiB, next: first.from + 1, ranges: true }, 100);
  const second = granted(table.request({ ...ask, agent: 'two' }, 200));
  table.release(second.leaseId, 'two', { how: 'done', next: second.to }, 300);

  const successor = successorOf(table, 1_900);
  const third = granted(successor.request({ ...ask, agent: 'three' }, 1_900));
  expect(third.from).toBe(second.to);
  // The holder has more than all of its time again, and may be as far as it is.
  expect(successor.renew(first.leaseId, 'one', { bytes: 3 * MiB, next: first.to - 1 }, 3_800)).toEqual({
    held: true,
    to: first.to,
  });
  expect(successor.renew(first.leaseId, 'two', { bytes: 9 * MiB, next: first.to }, 3_800).held).toBe(false);
});

test('what a holder that never comes back had left is given out again', () => {
  const table = newTable();
  const first = granted(table.request({ ...ask, agent: 'one' }, 0));
  table.renew(first.leaseId, 'one', { bytes: MiB, next: first.from + 1, ranges: true }, 100);
  const successor = successorOf(table, 1_000);
  expect(granted(successor.request({ ...ask, agent: 'two' }, 4_999)).from).toBe(first.to);
  expect(granted(successor.request({ ...ask, agent: 'three' }, 5_000)).from).toBe(first.from + 1);
});

test('another zone fetches from the one that has it, after a change of leaders too', () => {
  const table = newTable();
  const first = granted(table.request({ ...ask, agent: 'one', others: false }, 0));
  table.release(first.leaseId, 'one', { how: 'done', next: first.to }, 100);
  const successor = successorOf(table, 200);
  const there = granted(successor.request({ ...ask, agent: 'far', zone: 'b', piece: first.from }, 300));
  expect([there.source, there.holders]).toEqual(['origin', []]);
  const fetched = granted(successor.request({ ...ask, agent: 'far', zone: 'b', piece: first.from }, 400));
  expect([fetched.source, fetched.holders]).toEqual(['zone', ['one']]);
});

const step = fc.record({
  what: fc.constantFrom('ask', 'renew', 'release', 'leave', 'withdraw', 'wait'),
  agent: fc.constantFrom('one', 'two', 'three', 'four'),
  zone: fc.constantFrom('a', 'b'),
  starved: fc.boolean(),
  piece: fc.nat(63),
  by: fc.nat(6),
});

test('whatever was done before, a successor knows the same, and every change of it was told', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const changed = new Set<BlobId>();
      const table = newTable(changed);
      const held: { id: string; agent: string; next: number; bytes: number }[] = [];
      let nowMs = 0;
      let known = '[]';
      for (const { what, agent, zone, starved, piece, by } of steps) {
        nowMs += by * 150;
        changed.clear();
        const lease = held[piece % Math.max(1, held.length)];
        if (what === 'ask') {
          const reply = table.request({ ...ask, agent: `${agent}-${zone}`, zone, starved, piece }, nowMs);
          if (reply.granted) held.push({ id: reply.leaseId, agent: `${agent}-${zone}`, next: reply.from, bytes: 0 });
        } else if (what === 'renew' && lease !== undefined) {
          lease.next += by;
          lease.bytes += by * MiB;
          table.renew(lease.id, lease.agent, { bytes: lease.bytes, next: lease.next, ranges: true }, nowMs);
        } else if (what === 'release' && lease !== undefined) {
          table.release(lease.id, lease.agent, { how: 'done', next: lease.next + by }, nowMs);
        } else if (what === 'leave') table.forgetAgent(`${agent}-${zone}`);
        else if (what === 'withdraw') table.withdrawn(BLOB, `${agent}-${zone}`);
        else table.expire(nowMs);
        const saved = JSON.stringify(table.save(BLOB, nowMs)?.leases ?? []);
        if (saved !== known) expect([...changed]).toEqual([BLOB]);
        known = saved;
      }
      const saved = table.save(BLOB, nowMs);
      if (saved === undefined) return;
      expect(successorOf(table, nowMs).save(BLOB, nowMs)).toEqual(saved);
    }),
  );
});

test('a blob that nobody asked about is none to be saved, whoever withdraws it', () => {
  const changed = new Set<BlobId>();
  const table = newTable(changed);
  table.withdrawn(`a.test/sha256:${'9'.repeat(64)}` as BlobId, 'one');
  expect(changed).toEqual(new Set());
  table.request({ ...ask, agent: 'one' }, 0);
  changed.clear();
  table.withdrawn(BLOB, 'one');
  expect(changed).toEqual(new Set([BLOB]));
});
