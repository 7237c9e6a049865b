/** What a program's log must not hold, and what it said at a time. Agents and trackers log a JSON object per line. */

/** pino's. */
const FATAL = 60;
/** Mistakes in the program, never the world's fault. */
const MISTAKES = new Set(['TypeError', 'ReferenceError', 'RangeError', 'SyntaxError', 'AssertionError']);
const NODE_COMPLAINS = /unhandled|uncaught|FATAL ERROR|Warning:|^\s+at .+:\d+:\d+\)?$/i;

interface LogLine {
  readonly level?: number;
  /** Milliseconds since 1970, or that as text. */
  readonly time?: number | string;
  readonly err?: { readonly type?: string };
}

/** The lines that tell of an error which nobody handled, or of a mistake in the program. */
export function unhandled(log: string): string[] {
  return log.split('\n').filter((text) => {
    const line = parsed(text);
    if (line === undefined) return NODE_COMPLAINS.test(text);
    return (line.level ?? 0) >= FATAL || MISTAKES.has(line.err?.type ?? '') || /unhandled|uncaught/i.test(text);
  });
}

/** The lines of that time, in milliseconds since 1970; at most `most`, the last ones. */
export function linesBetween(log: string, fromMs: number, toMs: number, most: number): string[] {
  const within = (text: string): boolean => {
    const time = parsed(text)?.time;
    const timeMs = time === undefined ? Number.NaN : new Date(time).getTime();
    return timeMs >= fromMs && timeMs <= toMs;
  };
  return log.split('\n').filter(within).slice(-most);
}

function parsed(text: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
