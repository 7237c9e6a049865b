/** A complete blob that does not match its digest: whose pieces are dropped, what is fetched again, who hears of it. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  blob,
  content,
  digest,
  ME,
  never,
  PIECE_BYTES,
  PullStage,
  pieceCount,
  pieceOf,
  readAll,
  signerOf,
  withWrongPieces,
} from './scripted-sources.fixture.ts';

describe('a blob that does not match its digest', () => {
  let stage: PullStage;
  const lies = [3, 4];

  beforeEach(async () => {
    stage = await PullStage.make();
    const wrong = withWrongPieces(lies);
    stage.peers.respond = (index) => pieceOf(wrong, index);
    stage.peers.signer = (index) => (lies.includes(index) ? 'liar' : 'honest');
    // Everything comes from the peer, until somebody is barred for it.
    stage.tracker.onLease = ({ audit, piece }) => {
      if (audit === 'ask') return { from: 0, to: 0, source: 'audit' };
      if (piece === undefined || stage.peers.barred.size === 0) return { retryAfterMs: 100 };
      return { from: piece, to: piece + 1 };
    };
  });

  afterEach(() => stage[Symbol.asyncDispose]());

  async function openWithPeer(start = 0) {
    const opening = stage.open(start);
    await expect.poll(() => stage.peers.listeners.length).toBe(1);
    stage.peers.hold();
    return opening;
  }

  it('is audited: the liar is named by its own signature, and its pieces are fetched again', async () => {
    await stage.start();
    const reader = await openWithPeer(5 * PIECE_BYTES);
    const bytes = await readAll(reader, 5 * PIECE_BYTES);
    expect(bytes.equals(content.subarray(5 * PIECE_BYTES))).toBe(true);
    expect((await readAll(await stage.open())).equals(content)).toBe(true);

    expect(stage.audits).toEqual(['difference']);
    const [report] = stage.tracker.reports;
    expect(lies).toContain(report?.index);
    expect(report).toMatchObject({ blob, sizeBytes: content.length });
    expect(signerOf(report?.claim ?? Buffer.alloc(0))).toBe('liar');
    expect(signerOf(report?.counter ?? Buffer.alloc(0))).toBe(ME);
    expect([...stage.peers.barred]).toEqual(['liar']);
    expect(stage.rejected.filter((reason) => reason === 'mismatch')).toHaveLength(lies.length);
    // The piece that the audit read was kept, so only the other lie was read besides what the audit looked at.
    expect(stage.origin.sentBytes).toBeLessThan(content.length);
  });

  it('cuts those short who were given bytes of a wrong piece, and lets the others go on', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const respond = stage.peers.respond;
    stage.peers.respond = async (index) => {
      if (index === pieceCount - 2) await held;
      return respond(index);
    };
    await stage.start();
    const early = await openWithPeer();
    const received: Uint8Array[] = [];
    const readingEarly = (async () => {
      for await (const chunk of early.bytes(0, undefined, never)) received.push(chunk);
    })();
    readingEarly.catch(() => {});
    const late = await stage.open(6 * PIECE_BYTES);
    const readingLate = readAll(late, 6 * PIECE_BYTES);
    await expect.poll(() => Buffer.concat(received).length).toBeGreaterThan(5 * PIECE_BYTES);
    release();
    await expect(readingEarly).rejects.toMatchObject({ code: 'mismatch' });
    early.close();
    expect(Buffer.concat(received).length).toBeLessThan(content.length);
    expect((await readingLate).equals(content.subarray(6 * PIECE_BYTES))).toBe(true);
  });

  it('waits while somebody else audits, and drops what a member signed that is barred meanwhile', async () => {
    const { onLease } = stage.tracker;
    let refusedAudits = 0;
    stage.tracker.onLease = (request) => {
      if (request.audit !== 'ask') return onLease(request);
      refusedAudits++;
      return { retryAfterMs: 500 };
    };
    await stage.start();
    const reading = readAll(await openWithPeer(5 * PIECE_BYTES), 5 * PIECE_BYTES);
    await expect.poll(() => refusedAudits, { timeout: 5_000 }).toBeGreaterThan(1);
    expect(stage.origin.reads).toHaveLength(0);
    stage.tracker.barred = new Set(['liar']);
    stage.pulls.barredChanged();
    expect((await reading).equals(content.subarray(5 * PIECE_BYTES))).toBe(true);
    expect(stage.audits).toEqual(['stopped']);
    expect(stage.tracker.reports).toEqual([]);
    expect(stage.origin.sentBytes).toBe(lies.length * PIECE_BYTES);
  });

  it('drops what a barred member signed while the blob still comes in', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { respond } = stage.peers;
    stage.peers.respond = async (index) => {
      if (index === 0) await held;
      return respond(index);
    };
    await stage.start();
    const opening = openWithPeer();
    await expect.poll(() => stage.peers.served.length).toBe(pieceCount - 1);
    stage.tracker.barred = new Set(['liar']);
    stage.pulls.barredChanged();
    release();
    expect((await readAll(await opening)).equals(content)).toBe(true);
    expect(stage.audits).toEqual([]);
    expect(stage.rejected.filter((reason) => reason === 'barred-signer').length).toBeGreaterThanOrEqual(lies.length);
  });

  it('cuts nobody short on a mere suspicion: what readers were given stays until the whole is known to be wrong', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    stage.peers.respond = async (index) => {
      if (index === pieceCount - 2) await held;
      return pieceOf(content, index);
    };
    await stage.start();
    const reader = await openWithPeer();
    let received = 0;
    const reading = (async () => {
      for await (const chunk of reader.bytes(0, undefined, never)) received += chunk.length;
    })();
    await expect.poll(() => received).toBe((pieceCount - 2) * PIECE_BYTES);
    stage.tracker.barred = new Set(['liar']);
    stage.pulls.barredChanged();
    release();
    await reading;
    reader.close();
    expect(received).toBe(content.length);
    expect(stage.audits).toEqual([]);
    expect(stage.rejected).toEqual([]);
  });

  it('is audited by this agent alone when no tracker answers', async () => {
    await stage.start();
    const opening = openWithPeer(5 * PIECE_BYTES);
    await expect.poll(() => stage.peers.served.length).toBe(pieceCount);
    stage.tracker.onLease = () => undefined;
    expect((await readAll(await opening, 5 * PIECE_BYTES)).equals(content.subarray(5 * PIECE_BYTES))).toBe(true);
    expect(stage.audits).toEqual(['difference']);
    expect([...stage.peers.barred]).toEqual(['liar']);
  });

  it('is audited over one connection when the origin ignores ranges', async () => {
    stage.origin.honoursRanges = false;
    stage.tracker.onLease = ({ audit }) => {
      if (audit === 'ask') return { from: 0, to: 0, source: 'audit' };
      return stage.peers.barred.size === 0 ? { retryAfterMs: 100 } : { from: 0, to: pieceCount };
    };
    await stage.start();
    const bytes = await readAll(await openWithPeer(5 * PIECE_BYTES), 5 * PIECE_BYTES);
    expect(bytes.equals(content.subarray(5 * PIECE_BYTES))).toBe(true);
    expect(stage.tracker.reports.map(({ index }) => index)).toEqual([lies[0]]);
  });

  it('finds one liar after the other', async () => {
    stage.peers.signer = (index) => (lies.includes(index) ? `liar ${index}` : 'honest');
    await stage.start();
    const bytes = await readAll(await openWithPeer(5 * PIECE_BYTES), 5 * PIECE_BYTES);
    expect(bytes.equals(content.subarray(5 * PIECE_BYTES))).toBe(true);
    expect([...stage.peers.barred].sort()).toEqual(['liar 3', 'liar 4']);
  });

  it('ends the pull when the origin itself has other bytes; the next one asks the origin alone', async () => {
    stage.peers.respond = (index) => pieceOf(stage.origin.bytes, index);
    stage.origin.bytes = withWrongPieces(lies);
    await stage.start();
    const reader = await openWithPeer();
    await expect(readAll(reader)).rejects.toMatchObject({ code: 'mismatch' });
    expect(stage.audits).toEqual(['nothing']);
    expect(stage.tracker.asked.at(-1)?.audit).toBe('end');
    expect(stage.tracker.reports).toEqual([]);
    expect(stage.peers.barred.size).toBe(0);
    expect(await stage.store.find(blob)).toBeUndefined();

    stage.origin.bytes = content;
    stage.peers.served.length = 0;
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.peers.served).toEqual([]);
  });

  it('fetches again what the disk changed, and blames nobody', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    stage.peers.respond = async (index) => {
      // The first piece comes last, so that the others are hashed from the disk.
      if (index === 0) await held;
      return pieceOf(content, index);
    };
    await stage.start();
    const opening = openWithPeer();
    await expect.poll(() => stage.peers.served.length).toBe(pieceCount - 1);
    const file = await open(join(stage.dataDir, 'partial', `${digest.slice('sha256:'.length)}@r.test`), 'r+');
    await file.write(Buffer.from('damage'), 0, 6, 7 * PIECE_BYTES);
    await file.close();
    release();
    const reader = await opening;
    await readAll(reader).catch(() => undefined);
    expect((await readAll(await stage.open())).equals(content)).toBe(true);
    expect(stage.audits).toEqual(['damage']);
    expect(stage.rejected).toEqual(['damaged']);
    expect(stage.peers.served.filter((index) => index === 7)).toHaveLength(2);
    expect(stage.origin.reads).toEqual([]);
  });
});

describe('a witness', () => {
  it('reads one piece from the origin and signs it, and its pull goes on meanwhile', async () => {
    await using stage = await PullStage.make();
    stage.tracker.onLease = () => ({ retryAfterMs: 100, witness: { index: 2 } });
    await stage.start();
    const opening = stage.open();
    await expect.poll(() => stage.peers.listeners.length).toBe(1);
    await expect.poll(() => stage.tracker.reports.length).toBeGreaterThan(0);
    const [report] = stage.tracker.reports;
    expect(report).toMatchObject({ blob, sizeBytes: content.length, index: 2 });
    expect(report?.claim).toBeUndefined();
    expect(signerOf(report?.counter ?? Buffer.alloc(0))).toBe(ME);
    expect(stage.origin.reads[0]).toEqual({ offset: 2 * PIECE_BYTES, end: 3 * PIECE_BYTES });
    stage.peers.hold();
    expect((await readAll(await opening)).equals(content)).toBe(true);
  });

  it('that cannot read the origin says nothing, and its pull is none the worse', async () => {
    await using stage = await PullStage.make();
    stage.tracker.onLease = () => ({ retryAfterMs: 100, witness: { index: 2 } });
    stage.origin.onOpen = () => {
      throw new Error('reset');
    };
    await stage.start();
    const opening = stage.open();
    await expect.poll(() => stage.origin.reads.length).toBeGreaterThan(0);
    stage.peers.hold();
    expect((await readAll(await opening)).equals(content)).toBe(true);
    expect(stage.tracker.reports).toEqual([]);
  });
});
