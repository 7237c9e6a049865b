import type { TrackerErrorCode } from '@shoal/wire';

/**
 * Why a call to the tracker gave nothing, beside the tracker's own codes:
 *
 * - `UNREACHABLE`: no connection; trying again costs the tracker nothing.
 * - `WRONG_PIN`: somebody else's TLS key answers at this address; nothing was sent.
 * - `TIMEOUT`: connected, but no answer in time.
 * - `BAD_ANSWER`: an answer that is not the tracker's API.
 */
export type CallErrorCode = TrackerErrorCode | 'UNREACHABLE' | 'WRONG_PIN' | 'TIMEOUT' | 'BAD_ANSWER';

export class CallError extends Error {
  readonly code: CallErrorCode;
  /** When the tracker said so by its own clock, to the second; of refusals. */
  readonly dateMs: number | undefined;
  constructor(code: CallErrorCode, message: string, options: ErrorOptions & { dateMs?: number } = {}) {
    super(message, options);
    this.name = 'CallError';
    this.code = code;
    this.dateMs = options.dateMs;
  }
}
