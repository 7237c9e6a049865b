import { OriginError } from './origin-client.ts';

/** For callers that are told of every end by an OriginError. */
export function cancelled(): OriginError {
  return new OriginError('cancelled', 'the request was cancelled');
}
