/** How fast the holder of a lease gets on, as far as it has told, and what is to be expected of it. */
import type { Lease } from './blob-leases.ts';

/** A holder that has not told of a piece yet is not called slow before this. */
const JUDGED_AFTER_MS = 1_000;
/** A reader that starves waits this long for a piece that somebody is reading: the origin itself may be slow. */
const SOON_MS = 8_000;
/** And as long for what has just been read. */
const SPREADS_WITHIN_MS = 2_000;

interface Progress {
  /** Pieces of the lease, a part of one included. */
  done: number;
  /** When the holder told so; when it began, before that. */
  atMs: number;
}

/** As far as the holder has told: pieces that it has, or bytes that came in, whichever says more. */
function progressOf(lease: Lease): Progress {
  const byPiece = { done: lease.next - lease.from, atMs: lease.nextAtMs };
  if (lease.source === 'zone') return byPiece;
  const done = Math.min(lease.to - lease.from, (lease.bytes - lease.bytesBefore) / lease.blob.pieceBytes);
  return done > byPiece.done ? { done, atMs: lease.bytesAtMs } : byPiece;
}

/** Milliseconds per piece. Before the holder has told of anything, as slow as it has been silent. */
function paceMs(lease: Lease, { done, atMs }: Progress, nowMs: number): number {
  return (done > 0 ? atMs - lease.startedAtMs : nowMs - lease.startedAtMs) / (done || 1);
}

/** The piece that it is probably at. */
export function expectedNext(lease: Lease, atMs: number): number {
  const progress = progressOf(lease);
  const pace = Math.max(1, paceMs(lease, progress, atMs));
  return Math.min(lease.to - 1, lease.from + Math.floor(progress.done + (atMs - progress.atMs) / pace));
}

/** What the rest of the run will take at the holder's pace, with what it has to finish before. */
export function remainingMs(lease: Lease, nowMs: number): number {
  const before = lease.blob.before(lease);
  if (before !== undefined) {
    const progress = progressOf(before);
    const pace = progress.done > 0 ? paceMs(before, progress, nowMs) : 0;
    return Math.max(0, remainingMs(before, nowMs)) + (lease.to - lease.next) * pace;
  }
  const progress = progressOf(lease);
  if (progress.done === 0 && nowMs - lease.startedAtMs < JUDGED_AFTER_MS) return 0;
  return (lease.to - lease.from - progress.done) * paceMs(lease, progress, nowMs) - (nowMs - progress.atMs);
}

/** Whether the holder of the lease has the piece before long, going by its pace, or has it since so lately that it may yet spread. */
export function bringsSoon(lease: Lease, piece: number, nowMs: number): boolean {
  if (piece < lease.from || piece >= lease.to) return false;
  if (piece < lease.next) return piece === lease.next - 1 && nowMs - lease.nextAtMs < SPREADS_WITHIN_MS;
  const progress = progressOf(lease);
  const silentMs = nowMs - progress.atMs;
  return (piece + 1 - lease.from - progress.done) * Math.max(silentMs, paceMs(lease, progress, nowMs)) <= SOON_MS;
}
