/**
 * A request that finds no answer for a while is asked a second time over another connection, and the first answer counts. Some load
 * balancers swallow a request now and then, and a client of ours does not wait for a deadline.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @param start makes one attempt, which ends when its signal fires, and tells when its request is out: waiting for a connection is
 *   no silence
 * @param discard takes an answer that came too late
 * @throws what the first attempt threw, when no attempt brings an answer
 */
export async function hedged<T>(
  afterMs: number,
  signal: AbortSignal,
  start: (signal: AbortSignal, onSent: () => void) => Promise<T>,
  discard: (late: T) => void,
): Promise<T> {
  const stops = [new AbortController(), new AbortController()] as const;
  const sent = Promise.withResolvers<void>();
  const attempt = async (n: 0 | 1) => ({
    n,
    answer: await start(AbortSignal.any([signal, stops[n].signal]), sent.resolve),
  });
  const first = attempt(0);
  await Promise.race([sent.promise, first.catch(() => {})]);
  if (await settlesWithin(afterMs, first)) return (await first).answer;
  const second = attempt(1);
  try {
    const { n, answer } = await Promise.any([first, second]);
    stops[n === 0 ? 1 : 0].abort();
    const other = n === 0 ? second : first;
    other.then((late) => discard(late.answer)).catch(() => {});
    return answer;
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

async function settlesWithin(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false);
  const settled = promise.then(
    () => true,
    () => true,
  );
  const isSettled = await Promise.race([settled, late]);
  timer.abort();
  return isSettled;
}
