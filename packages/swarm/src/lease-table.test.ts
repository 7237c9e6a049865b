import type { Digest } from '@shoal/oci';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LeaseReply, LeaseTable, type LeaseTableOptions } from './lease-table.ts';

const TTL_MS = 2_000;
const blobA = `sha256:${'a'.repeat(64)}` as Digest;
const blobB = `sha256:${'b'.repeat(64)}` as Digest;

function tableWith(options: Partial<LeaseTableOptions> = {}): LeaseTable {
  let issued = 0;
  return new LeaseTable({ leaseTtlMs: TTL_MS, ...options }, { newLeaseId: () => `lease-${issued++}` });
}

function ask(table: LeaseTable, agent: string, nowMs: number, more: { starved?: boolean; blob?: Digest } = {}) {
  const { starved = false, blob = blobA } = more;
  return table.request({ blob, agent, registry: 'docker.io', pieceCount: 10, starved }, nowMs);
}

function idOf(reply: LeaseReply): string {
  if (!reply.granted) throw new Error('not granted');
  return reply.leaseId;
}

test('the first to ask reads the whole blob, the next is sent to it', () => {
  const table = tableWith();
  expect(ask(table, 'one', 0)).toEqual({ granted: true, leaseId: 'lease-0', from: 0, to: 10 });
  expect(ask(table, 'two', 10)).toEqual({ granted: false, retryAfterMs: 1000, holder: 'one' });
});

test('a holder that asks again gets its own lease, which lives no longer for it', () => {
  const table = tableWith();
  const first = ask(table, 'one', 0);
  expect(ask(table, 'one', TTL_MS - 1)).toEqual(first);
  expect(ask(table, 'two', TTL_MS).granted).toBe(true);
});

test('an expired holder is replaced, and its late renewal and release are refused', () => {
  const table = tableWith();
  const lost = idOf(ask(table, 'one', 0));
  const next = idOf(ask(table, 'two', TTL_MS));
  expect(table.renew(lost, 'one', 5, TTL_MS + 1)).toBe(false);
  table.release(lost, 'one', true, TTL_MS + 1);
  expect(table.renew(next, 'two', 1, TTL_MS + 2)).toBe(true);
});

test('only progress extends a lease', () => {
  const table = tableWith();
  const lease = idOf(ask(table, 'one', 0));
  expect(table.renew(lease, 'one', 1, 1_500)).toBe(true);
  expect(table.renew(lease, 'one', 1, 3_000)).toBe(true);
  expect(table.renew(lease, 'one', 1, 3_500)).toBe(false);
});

test('nobody renews or releases the lease of another', () => {
  const table = tableWith();
  const lease = idOf(ask(table, 'one', 0));
  expect(table.renew(lease, 'two', 1, 1)).toBe(false);
  table.release(lease, 'two', false, 1);
  expect(table.holds(blobA, 'one', 1)).toBe(true);
});

test('a starved agent becomes a second reader, a third does not', () => {
  const table = tableWith();
  const first = idOf(ask(table, 'one', 0));
  expect(ask(table, 'two', 10, { starved: true }).granted).toBe(false);
  table.renew(first, 'one', 1, 1_900);
  expect(ask(table, 'two', 2_000, { starved: true }).granted).toBe(true);
  table.renew(first, 'one', 2, 3_800);
  expect(ask(table, 'three', 3_900, { starved: true }).granted).toBe(false);
});

test('a further reader of one blob comes only two seconds after the last grant', () => {
  const table = tableWith({ maxReadersPerBlob: 10 });
  const first = idOf(ask(table, 'one', 0));
  table.renew(first, 'one', 1, 1_800);
  expect(ask(table, 'two', 1_800, { starved: true })).toMatchObject({ granted: false, retryAfterMs: 200 });
  expect(ask(table, 'two', 2_000, { starved: true }).granted).toBe(true);
  table.renew(first, 'one', 2, 3_700);
  expect(ask(table, 'three', 3_700, { starved: true })).toMatchObject({ granted: false, retryAfterMs: 300 });
  expect(ask(table, 'three', 4_000, { starved: true }).granted).toBe(true);
});

test('after a release the next one reads; after a finished one the next is sent to the finisher for a while', () => {
  const table = tableWith();
  table.release(idOf(ask(table, 'one', 0)), 'one', false, 1);
  table.release(idOf(ask(table, 'two', 2)), 'two', true, 3);
  expect(ask(table, 'three', 4)).toMatchObject({ granted: false, holder: 'two' });
  expect(ask(table, 'three', 3 + TTL_MS).granted).toBe(true);
});

test('who finished may read again, and a starved agent does not wait for it', () => {
  const table = tableWith();
  table.release(idOf(ask(table, 'one', 0)), 'one', true, 1);
  expect(ask(table, 'two', 2, { starved: true }).granted).toBe(true);
  const other = tableWith();
  other.release(idOf(ask(other, 'one', 0)), 'one', true, 1);
  expect(ask(other, 'one', 2).granted).toBe(true);
});

test('an agent that left holds nothing back', () => {
  const table = tableWith();
  table.release(idOf(ask(table, 'one', 0)), 'one', true, 1);
  ask(table, 'one', 1, { blob: blobB });
  table.forgetAgent('one');
  expect(ask(table, 'two', 2).granted).toBe(true);
  expect(ask(table, 'two', 2, { blob: blobB }).granted).toBe(true);
});

test('a registry that is full does not hold back another', () => {
  const table = tableWith({ maxLeasesPerRegistry: 1 });
  ask(table, 'one', 0);
  expect(ask(table, 'two', 1, { blob: blobB }).granted).toBe(false);
  const elsewhere = { blob: blobB, agent: 'two', registry: 'ghcr.io', pieceCount: 1, starved: false };
  expect(table.request(elsewhere, 1).granted).toBe(true);
});

/** The reference the table is held against: who was granted what, and when it last progressed. */
interface Held {
  agent: string;
  blob: number;
  registry: string;
  pieces: number;
  expiresAtMs: number;
}

const step = fc.record({
  waitMs: fc.oneof(fc.constant(0), fc.nat(3_000)),
  agent: fc.nat(5),
  blob: fc.nat(3),
  starved: fc.boolean(),
  pieces: fc.nat(10),
  /** Which of the leases ever granted a renewal or release is about. */
  lease: fc.nat(40),
  kind: fc.constantFrom('ask', 'ask', 'ask', 'renew', 'renew', 'release', 'forget'),
});

test('in any order of events: bounds hold, one holder is not doubled, a lost lease stays lost', () => {
  const bounds = { maxReadersPerBlob: 2, maxLeasesPerRegistry: 3, maxLeases: 4 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = tableWith(bounds);
      const held = new Map<string, Held>();
      const everGranted: { id: string; agent: string }[] = [];
      const extraAtMs = new Map<number, number>();
      let nowMs = 0;
      for (const { waitMs, agent: number, blob, starved, pieces, lease, kind } of steps) {
        nowMs += waitMs;
        for (const [id, each] of held) if (each.expiresAtMs <= nowMs) held.delete(id);
        const agent = `agent-${number}`;
        if (kind === 'ask') {
          const digest = `sha256:${blob.toString().repeat(64)}` as Digest;
          const registry = `registry-${blob % 2}`;
          const others = [...held.values()].filter((each) => each.blob === blob && each.agent !== agent);
          const reply = table.request({ blob: digest, agent, registry, pieceCount: 10, starved }, nowMs);
          if (!reply.granted) {
            expect(reply.retryAfterMs).toBeGreaterThan(0);
            expect(reply.retryAfterMs).toBeLessThanOrEqual(1000);
          } else if (held.has(reply.leaseId)) {
            expect(held.get(reply.leaseId)).toMatchObject({ agent, blob });
          } else {
            if (others.length > 0) {
              expect(starved).toBe(true);
              expect(nowMs - (extraAtMs.get(blob) ?? -Infinity)).toBeGreaterThanOrEqual(2_000);
              extraAtMs.set(blob, nowMs);
            }
            held.set(reply.leaseId, { agent, blob, registry, pieces: 0, expiresAtMs: nowMs + TTL_MS });
            everGranted.push({ id: reply.leaseId, agent });
          }
        } else if (kind === 'forget') {
          table.forgetAgent(agent);
          for (const [id, each] of held) if (each.agent === agent) held.delete(id);
        } else {
          const target = everGranted[lease];
          if (target === undefined) continue;
          const mine = held.get(target.id);
          if (kind === 'renew') {
            expect(table.renew(target.id, target.agent, pieces, nowMs)).toBe(mine !== undefined);
            if (mine !== undefined && pieces > mine.pieces) {
              Object.assign(mine, { pieces, expiresAtMs: nowMs + TTL_MS });
            }
          } else {
            table.release(target.id, target.agent, pieces > 5, nowMs);
            held.delete(target.id);
          }
        }
        table.expire(nowMs);
        expect(table.size).toBe(held.size);
        expect(held.size).toBeLessThanOrEqual(bounds.maxLeases);
        for (const each of held.values()) {
          const all = [...held.values()];
          expect(all.filter((other) => other.registry === each.registry).length).toBeLessThanOrEqual(3);
          expect(all.filter((other) => other.blob === each.blob).length).toBeLessThanOrEqual(2);
        }
      }
    }),
    { numRuns: 300 },
  );
});
