/** What a check found. */
export type FindingState = 'ok' | 'warn' | 'fail' | 'skip';

export interface Finding {
  readonly name: string;
  readonly state: FindingState;
  /** One line. */
  readonly detail: string;
  /** What to do: a command, or a file and what to write there. Of every `warn` and `fail`. */
  readonly todo?: string;
}

/** Makes the findings of one check. */
export interface Named {
  ok(detail: string): Finding;
  warn(detail: string, todo: string): Finding;
  fail(detail: string, todo: string): Finding;
  skip(detail: string): Finding;
}

export function named(name: string): Named {
  return {
    ok: (detail) => ({ name, state: 'ok', detail }),
    warn: (detail, todo) => ({ name, state: 'warn', detail, todo }),
    fail: (detail, todo) => ({ name, state: 'fail', detail, todo }),
    skip: (detail) => ({ name, state: 'skip', detail }),
  };
}
