/** Pulls under leases: runs that become shorter or longer while they are read, origins that ignore ranges, renewals. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { content, PIECE_BYTES, PullStage, pieceCount, readAll } from './scripted-sources.fixture.ts';

describe('leases', () => {
  let stage: PullStage;

  beforeEach(async () => {
    stage = await PullStage.make();
  });

  afterEach(() => stage[Symbol.asyncDispose]());

  /** Grants runs of `length` pieces, each once and in order. */
  function grantRuns(length: number): void {
    let next = 0;
    stage.tracker.onLease = () => {
      if (next >= pieceCount) return { retryAfterMs: 100 };
      const from = next;
      next = Math.min(pieceCount, from + length);
      return { from, to: next };
    };
  }

  it('are read as exact ranges, one request each, and given back done', async () => {
    grantRuns(4);
    stage.tracker.onRenew = ({ leaseId }) => 4 * Number(leaseId);
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.origin.reads).toEqual([
      { offset: 0, end: 4 * PIECE_BYTES },
      { offset: 4 * PIECE_BYTES, end: 8 * PIECE_BYTES },
      { offset: 8 * PIECE_BYTES, end: content.length },
    ]);
    expect(stage.origin.sentBytes).toBe(content.length);
    expect(stage.tracker.releases.map(({ leaseId, how, next }) => [leaseId, how, next])).toEqual([
      ['1', 'done', 4],
      ['2', 'done', 8],
      ['3', 'done', pieceCount],
    ]);
  });

  it('tell the tracker at once that the origin honours ranges', async () => {
    grantRuns(4);
    stage.origin.onChunk = () => sleep(5);
    stage.tracker.onRenew = ({ leaseId }) => 4 * Number(leaseId);
    await stage.start();
    await readAll(await stage.open());
    expect(stage.tracker.renewals[0]).toMatchObject({ leaseId: '1', ranges: true, next: 0 });
    expect(stage.tracker.renewals.every(({ ranges }) => ranges !== false)).toBe(true);
  });

  it('that become shorter end exactly there', async () => {
    let granted = false;
    stage.tracker.onLease = ({ piece }) => {
      if (!granted) {
        granted = true;
        return { from: 0, to: 8 };
      }
      return piece === 6 ? { from: 6, to: pieceCount } : { retryAfterMs: 100 };
    };
    stage.tracker.onRenew = ({ leaseId }) => (leaseId === '1' ? 6 : pieceCount);
    stage.origin.onChunk = () => sleep(20);
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.origin.reads.map(({ offset }) => offset)).toEqual([0, 6 * PIECE_BYTES]);
    expect(stage.origin.sentBytes).toBeLessThan(content.length + 100_000);
    expect(stage.tracker.releases[0]).toEqual({ leaseId: '1', how: 'done', next: 6 });
  });

  it('that begin at the start become the whole blob when the origin ignores ranges: one request', async () => {
    stage.origin.honoursRanges = false;
    stage.tracker.onLease = () => ({ from: 0, to: 2 });
    stage.tracker.onRenew = ({ ranges }) => (ranges === false ? pieceCount : 2);
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.tracker.renewals[0]).toMatchObject({ leaseId: '1', ranges: false });
    expect(stage.origin.reads).toEqual([{ offset: 0, end: 2 * PIECE_BYTES }]);
    expect(stage.origin.sentBytes).toBe(content.length);
  });

  it('that begin later go back at once when the origin ignores ranges, and no byte is read for them', async () => {
    stage.origin.honoursRanges = false;
    const sentAtOpen: number[] = [];
    stage.origin.onOpen = () => sentAtOpen.push(stage.origin.sentBytes);
    stage.tracker.onLease = () =>
      stage.tracker.releases.some(({ how }) => how === 'no-range') ? { from: 0, to: pieceCount } : { from: 4, to: 8 };
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.tracker.releases[0]).toEqual({ leaseId: '1', how: 'no-range', next: 4 });
    expect(sentAtOpen).toEqual([0, 0]);
    expect(stage.origin.sentBytes).toBe(content.length);
  });

  it('are renewed twice a second with what came in', async () => {
    stage.origin.onChunk = () => sleep(20);
    await stage.start();
    await readAll(await stage.open());
    const { renewals } = stage.tracker;
    expect(renewals.length).toBeGreaterThan(1);
    for (const [at, { bytes, next }] of renewals.entries()) {
      expect(bytes).toBeGreaterThan(renewals[at - 1]?.bytes ?? 0);
      expect(next * PIECE_BYTES).toBeLessThanOrEqual(bytes);
    }
  });

  it('that are lost end no run that nobody else has taken over', async () => {
    stage.tracker.onRenew = () => undefined;
    stage.origin.onChunk = () => sleep(20);
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.tracker.renewals).toHaveLength(1);
    expect(stage.tracker.releases).toEqual([]);
    expect(stage.origin.sentBytes).toBe(content.length);
  });

  it('are not needed by a lone agent without a tracker: it reads the blob in one request', async () => {
    stage.tracker.onLease = () => undefined;
    await stage.start();
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.origin.reads).toEqual([{ offset: 0, end: undefined }]);
  });

  it('are not needed either when that agent goes on in the middle, of an origin that ignores ranges', async () => {
    stage.tracker.onLease = () => undefined;
    stage.origin.honoursRanges = false;
    let broken = false;
    stage.origin.onChunk = (position) => {
      if (position < 1_000_000 || broken) return;
      broken = true;
      throw new Error('reset');
    };
    await stage.start();
    const reader = await stage.open();
    await readAll(reader).catch(() => undefined);
    const readsBefore = stage.origin.reads.length;
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.origin.reads.length - readsBefore).toBe(1);
  });
});
