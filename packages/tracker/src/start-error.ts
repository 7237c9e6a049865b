/**
 * Why a tracker did not start; the message names the file or address and says what to do.
 *
 * - `IDENTITY_DAMAGED`: a file of the cluster's identity does not hold what it should.
 * - `IDENTITY_INCOMPLETE`: a file of an identity that was complete before is missing.
 * - `STATE_LOCKED`: another process uses the data directory.
 * - `STATE_DAMAGED`: the embedded store cannot be opened or read.
 * - `DASHBOARD_UNAVAILABLE`: the address of the page for people cannot be had; the cause says why.
 * - `STORE_UNKNOWN`: the kind of store asked for does not exist.
 * - `STORE_UNREACHABLE`: the store that several trackers share cannot be used.
 * - `IDENTITY_NOT_SHARED`: several trackers are to be one, and this one has no identity that the others have.
 */
export type TrackerStartErrorCode =
  | 'IDENTITY_DAMAGED'
  | 'IDENTITY_INCOMPLETE'
  | 'STATE_LOCKED'
  | 'STATE_DAMAGED'
  | 'DASHBOARD_UNAVAILABLE'
  | 'STORE_UNKNOWN'
  | 'STORE_UNREACHABLE'
  | 'IDENTITY_NOT_SHARED';

export class TrackerStartError extends Error {
  readonly code: TrackerStartErrorCode;
  constructor(code: TrackerStartErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'TrackerStartError';
    this.code = code;
  }
}
