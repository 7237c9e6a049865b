/**
 * Waits no longer than the signal allows; the work itself goes on for others.
 * @param options.onLate gets what `promise` brings after the signal fired
 * @param options.reason what is thrown then @default the signal's reason
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  { onLate, reason = () => signal.reason }: { onLate?: (value: T) => void; reason?: () => unknown } = {},
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(reason());
    if (onLate !== undefined) promise.then(onLate, () => {});
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
