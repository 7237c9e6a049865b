/** How fast the holder of a lease gets on, as far as it has told, and what is to be expected of it. */
import type { Lease } from './blob-leases.ts';

/** A holder that has not told of a piece yet is not called slow before this. */
const JUDGED_AFTER_MS = 1_000;
/** A reader that starves waits this long for a piece that somebody is reading: the origin itself may be slow. */
const SOON_MS = 8_000;
/** And as long for what has just been read. */
const SPREADS_WITHIN_MS = 2_000;

/** Milliseconds per piece, as far as the holder has told. Before it has finished one, as slow as it has been silent. */
function paceMs(lease: Lease, nowMs: number): number {
  const done = lease.next - lease.from;
  return done > 0 ? (lease.nextAtMs - lease.grantedAtMs) / done : nowMs - lease.grantedAtMs;
}

/** The piece that it is probably at. */
export function expectedNext(lease: Lease, atMs: number): number {
  const pace = Math.max(1, paceMs(lease, atMs));
  return Math.min(lease.to - 1, lease.next + Math.floor((atMs - lease.nextAtMs) / pace));
}

/** What the rest of the run will take at the holder's pace. */
export function remainingMs(lease: Lease, nowMs: number): number {
  if (lease.next === lease.from && nowMs - lease.grantedAtMs < JUDGED_AFTER_MS) return 0;
  return (lease.to - lease.next) * paceMs(lease, nowMs) - (nowMs - lease.nextAtMs);
}

/** Whether the holder of the lease has the piece before long, going by its pace, or has it since so lately that it may yet spread. */
export function bringsSoon(lease: Lease, piece: number, nowMs: number): boolean {
  if (piece < lease.from || piece >= lease.to) return false;
  const silentMs = nowMs - lease.nextAtMs;
  if (piece < lease.next) return piece === lease.next - 1 && silentMs < SPREADS_WITHIN_MS;
  return (piece + 1 - lease.next) * Math.max(silentMs, paceMs(lease, nowMs)) <= SOON_MS;
}
