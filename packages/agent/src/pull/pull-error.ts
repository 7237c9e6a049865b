/**
 * Why a pull ended without the blob.
 * `no-source`: nobody served it in time. `origin-refused`: the origin does not have it for us and no member holds it.
 * `mismatch`: all bytes came and do not hash to the digest; nothing was kept. `size-mismatch`: the origin's size is not the
 * one the manifest names. `closed`: the agent is stopping.
 */
export type PullErrorCode = 'no-source' | 'origin-refused' | 'mismatch' | 'size-mismatch' | 'store' | 'closed';

export class PullError extends Error {
  readonly code: PullErrorCode;
  constructor(code: PullErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PullError';
    this.code = code;
  }
}
