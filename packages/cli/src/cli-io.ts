/** What a command may touch of the process around it. `main.ts` makes the real one, tests make their own. */
export interface TextOutput {
  write(text: string): unknown;
  /** Whether a person is reading. */
  readonly isTTY?: boolean | undefined;
  /** Of a terminal. */
  readonly columns?: number | undefined;
}

export type StopSignal = 'SIGINT' | 'SIGTERM';

export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What was asked for: the ready line, help, tables, JSON. */
  readonly stdout: TextOutput;
  /** Logs, and one line for whatever went wrong. */
  readonly stderr: TextOutput;
  /** Calls back at each signal until the returned function is called. While nobody listens, a signal ends the process. */
  onSignal(listener: (signal: StopSignal) => void): () => void;
  /** Calls back at each SIGHUP until the returned function is called. While nobody listens, it ends the process. */
  onReload(listener: () => void): () => void;
  /** Ends the process at once; used for a second signal. */
  exit(exitCode: number): void;
}
