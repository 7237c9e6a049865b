/** How fast the holder of a lease gets on, as far as it has told, and what is to be expected of it. */
import type { Lease } from './blob-leases.ts';

/** A holder that has not told of a piece yet is not called slow before this. */
const JUDGED_AFTER_MS = 1_000;
/** A reader that starves waits this long for a piece that somebody is reading: the origin itself may be slow. */
const SOON_MS = 8_000;

interface Progress {
  /** Pieces since the holder began with the lease, a part of one included. */
  done: number;
  /** When the holder told so; when it began, before that. */
  atMs: number;
}

/**
 * As far as the holder has told: pieces that it has, and bytes of the one that it is at. Bytes are told of all that it reads of
 * the blob, so they say nothing of a lease that waits for its turn, and never more than a piece.
 */
function progressOf(lease: Lease): Progress {
  const pieces = { done: lease.next - lease.startedFrom, atMs: lease.nextAtMs };
  if (lease.source === 'zone' || lease.blob.before(lease) !== undefined) return pieces;
  const byBytes = Math.min(pieces.done + 1, (lease.bytes - lease.bytesBefore) / lease.blob.pieceBytes);
  return byBytes > pieces.done ? { done: byBytes, atMs: lease.bytesAtMs } : pieces;
}

/** Milliseconds per piece. Before the holder has told of anything, as slow as it has been silent. */
function paceMs(lease: Lease, { done, atMs }: Progress, nowMs: number): number {
  return done > 0 ? (atMs - lease.startedAtMs) / done : nowMs - lease.startedAtMs;
}

/** The piece that it is probably at. */
export function expectedNext(lease: Lease, atMs: number): number {
  if (lease.blob.before(lease) !== undefined) return lease.next;
  const progress = progressOf(lease);
  const pace = Math.max(1, paceMs(lease, progress, atMs));
  return Math.min(lease.to - 1, lease.startedFrom + Math.floor(progress.done + (atMs - progress.atMs) / pace));
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
  return (lease.to - lease.startedFrom - progress.done) * paceMs(lease, progress, nowMs) - (nowMs - progress.atMs);
}

/** The pieces that it has before it, those of the lease that it has to finish first included. */
export function remainingPieces(lease: Lease): number {
  const before = lease.blob.before(lease);
  return lease.to - lease.next + (before === undefined ? 0 : before.to - before.next);
}

/** Whether the holder of the lease has the piece before long, going by its pace. What it has it has told of. */
export function bringsSoon(lease: Lease, piece: number, nowMs: number): boolean {
  if (piece < lease.next || piece >= lease.to) return false;
  // Until its holder begins with it, as much is expected of a lease as of one that was just begun: what is before it may be given back.
  const progress = progressOf(lease);
  const silentMs = nowMs - progress.atMs;
  const ahead = piece + 1 - lease.startedFrom - progress.done;
  return ahead * Math.max(silentMs, paceMs(lease, progress, nowMs)) <= SOON_MS;
}
