/**
 * A program that runs until it is told to stop:
 *
 *   start ─► running ─► first signal ─► stop within the grace time ─► 0
 *     │                      └── second signal, or the time is over ─► ends at once
 *     └── signal: ends at once with 0, for nothing was promised yet and the store survives any end
 */
import type { CliIo, StopSignal } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';

export const DEFAULT_GRACE_MS = 10_000;
const SIGNAL_EXIT_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143 };

export interface ServeOptions {
  /** Starts every complaint, e.g. `shoal agent`. */
  program: string;
  /** How long stopping may take. @default 10 s */
  graceMs?: number;
}

/**
 * Resolves when it was told to stop and has stopped.
 * @throws CommandFailure when stopping failed or took too long; whatever `start` throws
 */
export async function serveUntilSignal(
  options: ServeOptions,
  io: CliIo,
  start: () => Promise<{ stop(): Promise<void> }>,
): Promise<void> {
  const { program, graceMs = DEFAULT_GRACE_MS } = options;
  const asked = Promise.withResolvers<undefined>();
  let signals = 0;
  const stopListening = io.onSignal((signal) => {
    signals += 1;
    if (signals === 1) asked.resolve(undefined);
    else io.exit(SIGNAL_EXIT_CODES[signal]);
  });
  try {
    const starting = start();
    starting.catch(() => undefined);
    const running = await Promise.race([starting, asked.promise]);
    if (running === undefined) return;
    await asked.promise;
    await within(graceMs, running.stop(), `${program}: stopping took longer than ${graceMs / 1000} s and was cut off`);
  } finally {
    stopListening();
  }
}

async function within(graceMs: number, stopping: Promise<void>, complaint: string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new CommandFailure(complaint)), graceMs);
  try {
    await Promise.race([stopping, late]);
  } finally {
    clearTimeout(timer);
  }
}
