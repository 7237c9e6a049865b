import type { TrackerErrorCode } from '@shoal/wire';

/** A refusal, as the caller gets to see it: the message must not hold secrets. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: TrackerErrorCode;
  constructor(status: number, code: TrackerErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
  }
}
