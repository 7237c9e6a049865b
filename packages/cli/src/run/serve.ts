/**
 * A program that runs until it is told to stop:
 *
 *   start ─► running ─► first signal ─► stop within the grace time ─► 0
 *     │                      └── second signal, or the time is over ─► ends at once
 *     └── signal: ends at once with 0, for nothing was promised yet and the store survives any end
 *
 * SIGHUP while it starts or runs: its settings are read again, once it runs. On a terminal it ends the program instead, as usual:
 * there it says that the terminal was closed.
 */
import type { CliIo, StopSignal } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';

export const DEFAULT_GRACE_MS = 10_000;
const SIGNAL_EXIT_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143 };

export interface ServeOptions {
  /** Starts every complaint, e.g. `shoal agent`. */
  program: string;
  /** How long stopping may take, asked when it begins. @default 10 s */
  graceMs?: () => number;
}

export interface Served {
  stop(): Promise<void>;
  /** Reads the settings again. Never throws. */
  reload?(): void;
}

/**
 * Resolves when it was told to stop and has stopped.
 * @throws CommandFailure when stopping failed or took too long; whatever `start` throws
 */
export async function serveUntilSignal(options: ServeOptions, io: CliIo, start: () => Promise<Served>): Promise<void> {
  const { program, graceMs = () => DEFAULT_GRACE_MS } = options;
  const asked = Promise.withResolvers<undefined>();
  let signals = 0;
  const stopListening = io.onSignal((signal) => {
    signals += 1;
    if (signals === 1) asked.resolve(undefined);
    else io.exit(SIGNAL_EXIT_CODES[signal]);
  });
  let served: Served | undefined;
  let reloadWhenServed = false;
  const onReload = (): void => {
    if (served === undefined) reloadWhenServed = true;
    else served.reload?.();
  };
  const stopReloading = io.stdout.isTTY === true ? undefined : io.onReload(onReload);
  try {
    const starting = start();
    starting.catch(() => undefined);
    const running = await Promise.race([starting, asked.promise]);
    if (running === undefined) return;
    served = running;
    if (reloadWhenServed) served.reload?.();
    await asked.promise;
    const stopMs = graceMs();
    await within(stopMs, running.stop(), `${program}: stopping took longer than ${stopMs / 1000} s and was cut off`);
  } finally {
    stopListening();
    stopReloading?.();
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
