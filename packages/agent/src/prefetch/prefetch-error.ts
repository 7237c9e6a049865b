/**
 * Why an image is not fetched, or an order not taken; the message is a line for people.
 *
 * - `bad-order`: what was asked for makes no sense; `unknown`: no such order (any more).
 * - `refused`: by this node's settings; `tracker`: it said no, or could not be asked; `busy`: too many orders.
 * - `no-platform`: the image is for other machines; `bad-manifest`: it cannot be read.
 * - `no-room`: it does not fit the cache, or does not stay there.
 * - `cancelled`: it is not wanted any more, or the agent stops.
 */
export type PrefetchErrorCode =
  | 'bad-order'
  | 'unknown'
  | 'refused'
  | 'tracker'
  | 'busy'
  | 'no-platform'
  | 'bad-manifest'
  | 'no-room'
  | 'cancelled';

export class PrefetchError extends Error {
  readonly code: PrefetchErrorCode;
  constructor(code: PrefetchErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'PrefetchError';
    this.code = code;
  }
}
