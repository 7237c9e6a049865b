import { OriginError } from '../origin/origin-client.ts';

/**
 * Runs `start` and gives up on it after `deadlineMs` with a temporary OriginError (`timeout`), even when it does not
 * listen to its signal. @throws whatever `start` throws, or the reason of `signal`
 */
export async function withinDeadline<T>(
  deadlineMs: number,
  signal: AbortSignal,
  start: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const cancel = new AbortController();
  const { promise: given, reject } = Promise.withResolvers<never>();
  const giveUp = (reason: unknown) => {
    cancel.abort(reason);
    reject(reason);
  };
  const onAbort = () => giveUp(signal.reason);
  const timer = setTimeout(() => giveUp(new OriginError('timeout', `no answer within ${deadlineMs} ms`)), deadlineMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([start(cancel.signal), given]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
