export type PullFailureCode =
  /** The mirror answered with a status that is not success. */
  | 'refused'
  /** No connection, or no answer in time. */
  | 'unreachable'
  /** The body ended early and resuming it brought nothing more. */
  | 'cut-short'
  /** The connection was reset inside a body, which containerd does not survive either. */
  | 'reset'
  /** The bytes do not have the digest or the size that was asked for. */
  | 'wrong-bytes'
  /** The manifest cannot be read, or the answer carries no digest. */
  | 'not-an-image'
  /** The index has no image for the platform. */
  | 'no-platform';

/** Why an image could not be pulled. An abort is not a failure: it rejects with the signal's reason. */
export class PullFailure extends Error {
  readonly code: PullFailureCode;
  constructor(code: PullFailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PullFailure';
    this.code = code;
  }
}
