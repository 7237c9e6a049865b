import type { BlobId } from '@shoal/oci';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LeaseAsk, LeaseReply } from './lease-ask.ts';
import { LeaseTable, type LeaseTableOptions } from './lease-table.ts';
import { pieceCountOf } from './piece.ts';

const MiB = 1024 * 1024;
const BLOB = `a.test/sha256:${'0'.repeat(64)}` as BlobId;
const TTL = 2_000;
/** 128 pieces in runs of 4. */
const ASK: LeaseAsk = { blob: BLOB, agent: 'a', zone: 'z', registry: 'r', sizeBytes: 32 * MiB, starved: false };
/** 8 pieces, in runs of 4. */
const EIGHT: LeaseAsk = { ...ASK, sizeBytes: 2 * MiB };

function tableWith(options: Partial<LeaseTableOptions> = {}): LeaseTable {
  let ids = 0;
  return new LeaseTable({ leaseTtlMs: TTL, ...options }, { newLeaseId: () => `lease-${++ids}` });
}

function grantedBy(reply: LeaseReply): Extract<LeaseReply, { granted: true }> {
  if (!reply.granted) throw new Error(`refused: ${JSON.stringify(reply)}`);
  return reply;
}

/** A table whose registry is known to honour ranges. */
function knownTable(options: Partial<LeaseTableOptions> = {}): LeaseTable {
  const table = tableWith(options);
  const first = grantedBy(table.request({ ...ASK, blob: `a.test/sha256:${'f'.repeat(64)}` as BlobId }, 0));
  table.renew(first.leaseId, 'a', { bytes: 1, next: 0, ranges: true }, 0);
  table.release(first.leaseId, 'a', { how: 'unneeded', next: 0 }, 0);
  return table;
}

describe('reading the origin', () => {
  test('agents that ask together get different runs, as many as the bound allows', () => {
    const table = knownTable({ maxReadersPerBlob: 3 });
    const replies = ['a', 'b', 'c', 'd'].map((agent) => table.request({ ...ASK, agent, piece: 0 }, 0));
    expect(replies.slice(0, 3).map(grantedBy)).toMatchObject([
      { from: 0, to: 4, source: 'origin' },
      { from: 4, to: 8, source: 'origin' },
      { from: 8, to: 12, source: 'origin' },
    ]);
    expect(replies[3]).toMatchObject({ granted: false, holders: ['a', 'b', 'c'] });
  });

  test('few read a registry of which nobody has told yet, but whoever starves for an unread piece gets it', () => {
    const table = knownTable();
    const replies = ['a', 'b', 'c', 'd', 'e'].map((agent) => table.request({ ...ASK, agent }, 0));
    expect(replies.map(({ granted }) => granted)).toEqual([true, true, true, true, false]);
    const starved = { ...ASK, agent: 'e', starved: true };
    expect(table.request({ ...starved, piece: 0 }, 0).granted).toBe(false);
    expect(table.request({ ...starved, piece: 100 }, 0)).toMatchObject({ from: 100 });
  });

  test('one agent does not take all leases of a registry, however many blobs it makes up', () => {
    const table = knownTable();
    const blobs = Array.from({ length: 40 }, (_, at) => `a.test/sha256:${String(at).padStart(64, '0')}` as BlobId);
    let granted = 0;
    for (const blob of blobs) {
      const reply = table.request({ ...ASK, blob, agent: 'greedy' }, 0);
      if (reply.granted) granted++;
      // So that the registry seems fast.
      for (let at = 500; reply.granted && at < 1_600; at += 500)
        table.renew(reply.leaseId, 'greedy', { bytes: at * 1_000, next: 0, ranges: true }, at);
    }
    expect(granted).toBeLessThanOrEqual(16);
    expect(table.request({ ...ASK, agent: 'b' }, 1_600).granted).toBe(true);
  });

  test('every piece is granted once, whatever the order of asks, ends and asks again', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 1, maxLength: 400 }), (turns) => {
        const table = knownTable();
        const read = new Uint8Array(pieceCountOf(ASK.sizeBytes));
        const held = new Map<string, Extract<LeaseReply, { granted: true }>>();
        let now = 0;
        for (const turn of turns) {
          const agent = `agent-${turn}`;
          const lease = held.get(agent);
          now += 10;
          if (lease !== undefined) {
            table.release(lease.leaseId, agent, { how: 'done', next: lease.to }, now);
            held.delete(agent);
            continue;
          }
          const reply = table.request({ ...ASK, agent }, now);
          if (!reply.granted) continue;
          held.set(agent, reply);
          for (let index = reply.from; index < reply.to; index++) read[index] = (read[index] ?? 0) + 1;
          for (const [other, { leaseId, to }] of held) table.renew(leaseId, other, { bytes: now, next: to - 1 }, now);
        }
        expect(Math.max(...read)).toBe(1);
      }),
    );
  });

  test('until the first answer shows whether ranges are honoured, there is one reader', () => {
    const table = tableWith();
    const first = grantedBy(table.request(ASK, 0));
    expect(table.request({ ...ASK, agent: 'b' }, 0).granted).toBe(false);
    table.renew(first.leaseId, 'a', { bytes: 1, next: 0, ranges: true }, 1);
    expect(table.request({ ...ASK, agent: 'b' }, 2).granted).toBe(true);
  });

  test('where they are not, the reader gets the whole blob, and its successor, too', () => {
    const table = tableWith();
    const first = grantedBy(table.request(ASK, 0));
    expect(table.renew(first.leaseId, 'a', { bytes: 1, next: 0, ranges: false }, 1)).toEqual({ held: true, to: 128 });
    expect(table.request({ ...ASK, agent: 'b', piece: 50 }, 2).granted).toBe(false);
    expect(table.request({ ...ASK, agent: 'b', piece: 50 }, TTL + 1)).toMatchObject({
      granted: true,
      from: 0,
      to: 128,
    });
  });

  test('an agent that is alone gets longer and longer runs', () => {
    const table = knownTable();
    const lengths: number[] = [];
    for (let now = 0; lengths.length < 5; now += 100) {
      const { leaseId, from, to } = grantedBy(table.request(ASK, now));
      lengths.push(to - from);
      table.release(leaseId, 'a', { how: 'done', next: to }, now);
    }
    expect(lengths).toEqual([4, 8, 16, 32, 64]);
  });

  test('leases of one registry are bounded over all blobs', () => {
    const table = knownTable({ maxLeasesPerRegistry: 2 });
    const other = (digit: number) => `a.test/sha256:${String(digit).repeat(64)}` as BlobId;
    expect([1, 2, 3].map((digit) => table.request({ ...ASK, blob: other(digit) }, 0).granted)).toEqual([
      true,
      true,
      false,
    ]);
    expect(table.request({ ...ASK, blob: other(4), registry: 'another' }, 0).granted).toBe(true);
  });

  test('nobody reads while a member of the zone holds the whole blob, but somebody who starves', () => {
    const table = knownTable();
    const complete = { sameZone: ['h'], otherZones: [] };
    expect(table.request({ ...ASK, complete }, 0)).toMatchObject({ granted: false, holders: ['h'] });
    expect(table.request({ ...ASK, complete, starved: true, piece: 7 }, 0).granted).toBe(true);
  });
});

describe('a holder that fails', () => {
  test('loses what it has not read to the next that asks, when it shows no progress for the TTL', () => {
    const table = knownTable();
    const { leaseId } = grantedBy(table.request(ASK, 0));
    table.renew(leaseId, 'a', { bytes: 5, next: 2 }, 1_000);
    table.renew(leaseId, 'a', { bytes: 5, next: 2 }, 2_900);
    expect(table.renew(leaseId, 'a', { bytes: 5, next: 2 }, 3_000)).toEqual({ held: false, to: 0 });
    expect(table.request({ ...ASK, agent: 'b', piece: 2 }, 3_001)).toMatchObject({ granted: true, from: 2, to: 6 });
  });

  test('what it alone had is read again for whoever asks for it by name', () => {
    const table = knownTable();
    const { leaseId, to } = grantedBy(table.request(ASK, 0));
    table.release(leaseId, 'a', { how: 'done', next: to }, 10);
    expect(table.request({ ...ASK, agent: 'b', piece: 1 }, 20)).toMatchObject({ granted: true, from: 4 });
    table.forgetAgent('a');
    expect(table.request({ ...ASK, agent: 'c', piece: 1 }, 30)).toMatchObject({ granted: true, from: 1, to: 4 });
  });

  test('what is being read again already is not given to a second one that asks for an earlier piece', () => {
    const table = knownTable();
    const { leaseId, to } = grantedBy(table.request(ASK, 0));
    table.release(leaseId, 'a', { how: 'done', next: to }, 10);
    const avoiding = { ...ASK, avoid: ['a'] };
    expect(table.request({ ...avoiding, agent: 'b', piece: 2 }, 20)).toMatchObject({ granted: true, from: 2, to: 4 });
    expect(table.request({ ...avoiding, agent: 'c', piece: 1 }, 30)).toMatchObject({ granted: true, from: 1, to: 2 });
  });

  test('shares the tail of its run when it is slow, others are not, and nothing else is left', () => {
    const table = knownTable();
    const oneRun = { ...ASK, sizeBytes: MiB };
    const other = `a.test/sha256:${'1'.repeat(64)}` as BlobId;
    const fast = grantedBy(table.request({ ...ASK, blob: other, agent: 'c' }, 0));
    for (let at = 10; at <= 500; at += 10) table.renew(fast.leaseId, 'c', { bytes: (at / 10) * MiB, next: 2 }, at);
    const { leaseId } = grantedBy(table.request(oneRun, 0));
    expect(table.request({ ...oneRun, agent: 'b' }, 900).granted).toBe(false);
    table.renew(leaseId, 'a', { bytes: 1, next: 1 }, 1_500);
    expect(table.request({ ...oneRun, agent: 'b' }, 1_500)).toMatchObject({ granted: true, from: 3, to: 4 });
    expect(table.renew(leaseId, 'a', { bytes: 2, next: 1 }, 1_600)).toEqual({ held: true, to: 3 });
  });

  test('is not called slow where every reader is', () => {
    const table = knownTable();
    const oneRun = { ...ASK, sizeBytes: MiB };
    const { leaseId } = grantedBy(table.request(oneRun, 0));
    for (let at = 500; at <= 5_000; at += 500) table.renew(leaseId, 'a', { bytes: at * 60, next: 0 }, at);
    expect(table.request({ ...oneRun, agent: 'b' }, 5_000).granted).toBe(false);
  });

  test('is not called slow for a lease that it has not begun with, nor for the time that it waited for its turn', () => {
    const table = knownTable();
    const first = grantedBy(table.request(EIGHT, 0));
    const second = grantedBy(table.request(EIGHT, 0));
    table.renew(first.leaseId, 'a', { bytes: MiB, next: 2 }, 1_500);
    table.renew(second.leaseId, 'a', { bytes: MiB, next: 4 }, 1_500);
    expect(table.request({ ...EIGHT, agent: 'b' }, 1_500).granted).toBe(false);
    table.release(first.leaseId, 'a', { how: 'done', next: 4 }, 2_500);
    table.renew(second.leaseId, 'a', { bytes: 1.5 * MiB, next: 4 }, 3_000);
    expect(table.request({ ...EIGHT, agent: 'b' }, 3_000).granted).toBe(false);
  });

  test('is not waited for by a reader that starves when it is slow with what it has to finish first', () => {
    const table = knownTable();
    const first = grantedBy(table.request(EIGHT, 0));
    const second = grantedBy(table.request(EIGHT, 0));
    for (let at = 500; at <= 9_000; at += 500) {
      table.renew(first.leaseId, 'a', { bytes: at * 50, next: 0 }, at);
      table.renew(second.leaseId, 'a', { bytes: at * 50, next: 4 }, at);
    }
    expect(table.request({ ...EIGHT, agent: 'b', starved: true, piece: 4 }, 9_000)).toMatchObject({ from: 4, to: 5 });
  });

  test('is as slow in its next lease as its bytes since then say, whatever pieces of that were there before', () => {
    const table = knownTable();
    const first = grantedBy(table.request(EIGHT, 0));
    const second = grantedBy(table.request(EIGHT, 0));
    table.renew(second.leaseId, 'a', { bytes: MiB, next: 5 }, 500);
    table.release(first.leaseId, 'a', { how: 'done', next: 4 }, 600);
    for (let at = 1_000; at <= 9_000; at += 500) {
      table.renew(second.leaseId, 'a', { bytes: MiB + at * 2, next: 5 }, at);
    }
    expect(table.request({ ...EIGHT, agent: 'b', starved: true, piece: 5 }, 9_000)).toMatchObject({ from: 5, to: 6 });
  });

  test('is no faster for giving back leases that it has not begun with', () => {
    const table = knownTable();
    const first = grantedBy(table.request(ASK, 0));
    for (let at = 500; at <= 9_000; at += 500) {
      table.renew(first.leaseId, 'a', { bytes: at, next: 0 }, at);
      const next = grantedBy(table.request(ASK, at));
      table.release(next.leaseId, 'a', { how: 'unneeded', next: next.from }, at);
    }
    expect(table.request({ ...ASK, agent: 'b', starved: true, piece: 0 }, 9_000)).toMatchObject({ from: 0, to: 1 });
  });

  test('that is slow loses a part of its run, and no more before it has been heard of again', () => {
    const table = knownTable();
    const usual = grantedBy(table.request({ ...ASK, blob: `a.test/sha256:${'7'.repeat(64)}` as BlobId }, 0));
    table.renew(usual.leaseId, 'a', { bytes: MiB, next: 4 }, 100);
    const { leaseId } = grantedBy(table.request({ ...EIGHT, sizeBytes: MiB }, 0));
    table.renew(leaseId, 'a', { bytes: 64 * 1024, next: 0 }, 1_500);
    const ask = (agent: string) => table.request({ ...EIGHT, sizeBytes: MiB, agent }, 1_600);
    expect(ask('b').granted).toBe(true);
    expect(ask('c').granted).toBe(false);
    table.renew(leaseId, 'a', { bytes: 65 * 1024, next: 0 }, 1_600);
    expect(ask('c').granted).toBe(true);
  });

  test('is not called slow for what it has done since it last told', () => {
    const table = knownTable();
    const oneRun = { ...ASK, sizeBytes: MiB };
    const { leaseId } = grantedBy(table.request(oneRun, 0));
    table.renew(leaseId, 'a', { bytes: 1, next: 1 }, 600);
    expect(table.request({ ...oneRun, agent: 'b' }, 1_000).granted).toBe(false);
  });

  test('a lease that is not the caller’s is left alone', () => {
    const table = knownTable();
    const { leaseId } = grantedBy(table.request(ASK, 0));
    expect(table.renew(leaseId, 'b', { bytes: 9, next: 4 }, 1)).toEqual({ held: false, to: 0 });
    table.release(leaseId, 'b', { how: 'done', next: 4 }, 1);
    expect(table.size).toBe(1);
  });

  test('somebody who starves gets a piece again, then more and more, but not all the time', () => {
    const table = knownTable();
    const all = grantedBy(table.request({ ...ASK, sizeBytes: 3 * MiB }, 0));
    const rest = [4, 8].map(() => grantedBy(table.request({ ...ASK, sizeBytes: 3 * MiB, agent: 'd' }, 0)));
    for (const { leaseId, to } of rest) table.release(leaseId, 'd', { how: 'done', next: to }, 0);
    table.release(all.leaseId, 'a', { how: 'done', next: all.to }, 0);
    const starved = { ...ASK, sizeBytes: 3 * MiB, agent: 'b', starved: true, piece: 2 };
    const lengths = [2_100, 4_200, 6_300, 8_400].map((now) => {
      const lease = grantedBy(table.request(starved, now));
      expect(table.request({ ...starved, agent: 'c' }, now + 100).granted).toBe(false);
      table.release(lease.leaseId, 'b', { how: 'done', next: lease.from }, now + 100);
      return lease.to - lease.from;
    });
    expect(lengths).toEqual([1, 2, 4, 8]);
  });

  test('somebody who starves and reads something already is given nothing else', () => {
    const table = knownTable();
    const first = grantedBy(table.request({ ...ASK, agent: 'b' }, 0));
    grantedBy(table.request(ASK, 0));
    const starved = { ...ASK, agent: 'b', starved: true, piece: 4 };
    expect(table.request(starved, 1_000).granted).toBe(false);
    table.release(first.leaseId, 'b', { how: 'done', next: first.to }, 1_000);
    expect(table.request(starved, 1_000)).toMatchObject({ granted: true, from: 8 });
  });

  test('somebody who starves waits for what a holder brings before long', () => {
    const table = knownTable({ leaseTtlMs: 120_000 });
    const { leaseId } = grantedBy(table.request(EIGHT, 0));
    const rest = grantedBy(table.request({ ...EIGHT, agent: 'c' }, 0));
    table.release(rest.leaseId, 'c', { how: 'done', next: rest.to }, 0);
    const starved = { ...EIGHT, agent: 'b', starved: true, piece: 1 };
    table.renew(leaseId, 'a', { bytes: 1, next: 1 }, 100);
    expect(table.request(starved, 1_900).granted).toBe(false);
    // What the holder has said it has, and does not send, is another matter, though not at once.
    expect(table.request({ ...starved, piece: 0 }, 2_000).granted).toBe(false);
    expect(table.request({ ...starved, piece: 0 }, 2_100)).toMatchObject({ granted: true, from: 0, to: 1 });
  });

  test('somebody who starves does not wait for a holder that would need very long', () => {
    const table = knownTable({ leaseTtlMs: 120_000 });
    grantedBy(table.request(EIGHT, 0));
    const rest = grantedBy(table.request({ ...EIGHT, agent: 'c' }, 0));
    table.release(rest.leaseId, 'c', { how: 'done', next: rest.to }, 0);
    const starved = { ...EIGHT, agent: 'b', starved: true, piece: 2 };
    expect(table.request(starved, 11_000)).toMatchObject({ granted: true, from: 2, to: 3 });
  });

  test('somebody who starves is not given unrelated work first', () => {
    const table = knownTable();
    grantedBy(table.request(ASK, 0));
    const starved = { ...ASK, agent: 'b', starved: true, piece: 1, silent: ['a'] };
    expect(table.request(starved, 100)).toMatchObject({ granted: true, from: 1 });
  });

  test('of an origin without ranges a whole blob is read a second time for who starves, and not a third', () => {
    const table = tableWith({ extraReaderEveryMs: 0 });
    const first = grantedBy(table.request(ASK, 0));
    table.renew(first.leaseId, 'a', { bytes: 1, next: 0, ranges: false }, 1);
    const starved = { ...ASK, starved: true, piece: 3, silent: ['a', 'b'] };
    expect(table.request({ ...starved, agent: 'b' }, 2)).toMatchObject({ granted: true, from: 0, to: 128 });
    expect(table.request({ ...starved, agent: 'c' }, 3).granted).toBe(false);
  });

  test('what somebody brought who gave the blob up is read again for whoever misses it', () => {
    const table = knownTable();
    const lease = grantedBy(table.request(ASK, 0));
    table.release(lease.leaseId, 'a', { how: 'done', next: lease.to }, 10);
    const misses = { ...ASK, agent: 'b', piece: 2 };
    expect(grantedBy(table.request(misses, 20)).from).toBe(4);
    table.withdrawn(BLOB, 'a');
    expect(table.request({ ...misses, agent: 'c' }, 30)).toMatchObject({ granted: true, from: 2, to: 4 });
  });
});

describe('zones', () => {
  test('each piece leaves the origin once and enters every other zone once', () => {
    const table = knownTable({ maxReadersPerBlob: 100 });
    const pieces = pieceCountOf(ASK.sizeBytes);
    const origin = new Uint8Array(pieces);
    const into = new Map(['x', 'y', 'z'].map((zone) => [zone, new Uint8Array(pieces)]));
    for (let turn = 0, now = 0; turn < 300; turn++, now++) {
      const zone = ['x', 'y', 'z'][turn % 3] as string;
      const agent = `${zone}${turn % 7}`;
      const reply = table.request({ ...ASK, agent, zone }, now);
      if (!reply.granted) continue;
      const counts = reply.source === 'origin' ? origin : into.get(zone);
      for (let index = reply.from; index < reply.to && counts; index++) counts[index] = (counts[index] ?? 0) + 1;
      table.release(reply.leaseId, agent, { how: 'done', next: reply.to }, now);
    }
    expect(origin.every((times) => times === 1)).toBe(true);
    let crossings = 0;
    for (const counts of into.values()) {
      expect(Math.max(...counts)).toBeLessThanOrEqual(1);
      crossings += counts.reduce((sum, times) => sum + times, 0);
    }
    expect(crossings).toBe(2 * pieces);
  });

  test('a zone lease names who has the run; with a holder elsewhere the origin is not read', () => {
    const table = knownTable();
    const complete = { sameZone: [], otherZones: ['h'] };
    expect(table.request({ ...ASK, complete }, 0)).toMatchObject({ granted: true, source: 'zone', holders: ['h'] });
    const nobody = { sameZone: [], otherZones: [] };
    expect(table.request({ ...ASK, agent: 'b', complete: nobody }, 1)).toMatchObject({
      granted: true,
      source: 'origin',
    });
  });

  test('whoever holds everything and does not answer the asker is as good as not there', () => {
    const table = knownTable();
    const complete = { sameZone: ['h'], otherZones: [] };
    expect(table.request({ ...ASK, complete }, 0)).toMatchObject({ granted: false, holders: ['h'] });
    expect(table.request({ ...ASK, complete, silent: ['h'] }, 1)).toMatchObject({ granted: true, source: 'origin' });
    // Another one that does answer is enough.
    const two = { sameZone: ['h', 'i'], otherZones: [] };
    expect(table.request({ ...ASK, agent: 'b', complete: two, silent: ['h'] }, 2)).toMatchObject({
      granted: false,
      holders: ['i'],
    });
  });

  test('what a silent member alone read is read again', () => {
    const table = knownTable();
    const first = grantedBy(table.request(ASK, 0));
    table.release(first.leaseId, ASK.agent, { how: 'done', next: first.to }, 0);
    const again = { ...ASK, agent: 'b', piece: first.from };
    const other = table.request(again, 1);
    expect(other).not.toMatchObject({ granted: true, from: first.from });
    expect(table.request({ ...again, agent: 'c', silent: [ASK.agent] }, 2)).toMatchObject({
      granted: true,
      source: 'origin',
      from: first.from,
    });
  });

  test('what one zone gives up is not read again when a second has it, and a third still lacks it', () => {
    const table = knownTable({ extraReaderEveryMs: 0 });
    const inX = grantedBy(table.request({ ...EIGHT, agent: 'a', zone: 'x' }, 0));
    const rest = grantedBy(table.request({ ...EIGHT, agent: 'c', zone: 'x' }, 0));
    table.release(rest.leaseId, 'c', { how: 'done', next: rest.to }, 0);
    for (const zone of ['y', 'w']) table.request({ ...EIGHT, agent: zone, zone, piece: 7 }, 0);
    // Somebody of y starves for it and reads it, too; then the one in x fails.
    const starved = { ...EIGHT, agent: 'b', zone: 'y', starved: true, piece: 0, silent: ['a'] };
    for (let turn = 0; turn < 2; turn++) {
      const lease = grantedBy(table.request(starved, 1));
      table.release(lease.leaseId, 'b', { how: 'done', next: lease.from }, 1);
    }
    const inY = grantedBy(table.request(starved, 1));
    expect(inY).toMatchObject({ from: 0, to: 4, source: 'origin' });
    table.release(inY.leaseId, 'b', { how: 'done', next: inY.to }, 2);
    table.release(inX.leaseId, 'a', { how: 'failed', next: 0 }, 3);
    for (const zone of ['x', 'w']) {
      const again = table.request({ ...EIGHT, agent: `${zone}2`, zone, piece: 0 }, 4);
      expect(again).toMatchObject({ granted: true, from: 0, source: 'zone' });
    }
  });

  test('a zone lease that runs out is free for the same zone again, not for the origin', () => {
    const table = knownTable({ maxReadersPerBlob: 1 });
    const first = grantedBy(table.request({ ...ASK, agent: 'x1', zone: 'x' }, 0));
    table.release(first.leaseId, 'x1', { how: 'done', next: first.to }, 0);
    // The only reader of the origin that is allowed goes on reading.
    const reader = grantedBy(table.request({ ...ASK, agent: 'x2', zone: 'x' }, 0));
    const inY = { ...ASK, zone: 'y', piece: 0 };
    expect(table.request({ ...inY, agent: 'y1' }, 1)).toMatchObject({ source: 'zone', from: 0, to: 4 });
    expect(table.request({ ...inY, agent: 'y2' }, 2).granted).toBe(false);
    table.renew(reader.leaseId, 'x2', { bytes: 1, next: reader.to - 1 }, 1_999);
    expect(table.request({ ...inY, agent: 'y2' }, TTL + 1)).toMatchObject({ source: 'zone', from: 0, to: 4 });
  });
});

test('one agent at a time audits a blob', () => {
  const table = tableWith();
  expect(table.audit(BLOB, 'a', 0)).toBe(true);
  expect(table.audit(BLOB, 'b', 9_999)).toBe(false);
  expect(table.audit(BLOB, 'b', 10_000)).toBe(true);
  table.forgetAgent('b');
  expect(table.audit(BLOB, 'c', 10_001)).toBe(true);
  table.endAudit(BLOB, 'a');
  expect(table.audit(BLOB, 'd', 10_002)).toBe(false);
  table.endAudit(BLOB, 'c');
  expect(table.audit(BLOB, 'd', 10_003)).toBe(true);
});

test('the more ask in vain, the later they are told to come back', () => {
  const table = knownTable({ maxReadersPerBlob: 1 });
  grantedBy(table.request(ASK, 0));
  const waits = Array.from({ length: 2_000 }, (_, index) => table.request({ ...ASK, agent: `n${index}` }, 1));
  const last = waits.at(-1);
  expect(waits[0]).toMatchObject({ retryAfterMs: 100 });
  expect(last?.granted === false && last.retryAfterMs).toBe(5_000);
});
