/** A long run that Ctrl-C may end: the first signal lets it put everything in order, the second waits for nothing. */

const FAILED = 1;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Never throws: what goes wrong is told on standard error, and the exit code is set. @param name of the bench */
export async function stoppable(name: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stopping = new AbortController();
  let stoppedBy: keyof typeof EXIT_CODES | undefined;
  const stop = (signal: keyof typeof EXIT_CODES): void => {
    // What is left then is removed on the way out or by the next run.
    if (stoppedBy !== undefined) process.exit(EXIT_CODES[signal]);
    stoppedBy = signal;
    stopping.abort(new Error(`stopped by ${signal}`));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    await run(stopping.signal);
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = stoppedBy === undefined ? FAILED : EXIT_CODES[stoppedBy];
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
