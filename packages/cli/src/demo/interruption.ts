/** Ctrl-C in two steps: the first aborts and lets everything be cleaned up, the second ends the process at once. */
import type { CliIo } from '../cli-io.ts';

/** What a shell reports for a process that SIGINT ended. */
const INTERRUPTED_EXIT_CODE = 130;

export interface Interruption {
  signal: AbortSignal;
  /** Whether it was a person, and not a crash, who aborted. */
  asked(): boolean;
  abort(reason: Error): void;
  /** Stops listening: from here on a signal ends the process as usual. */
  stopListening(): void;
}

/** `lastWords` runs before the process ends at the second signal; it cannot wait for anything. */
export function listenForInterruption(io: CliIo, lastWords: () => void): Interruption {
  const aborting = new AbortController();
  let signals = 0;
  const stopListening = io.onSignal(() => {
    signals += 1;
    if (signals === 1) {
      io.stderr.write('stopping; once more to stop at once\n');
      aborting.abort(new Error('interrupted'));
      return;
    }
    lastWords();
    io.exit(INTERRUPTED_EXIT_CODE);
  });
  return {
    signal: aborting.signal,
    asked: () => signals > 0,
    abort: (reason) => aborting.abort(reason),
    stopListening,
  };
}
