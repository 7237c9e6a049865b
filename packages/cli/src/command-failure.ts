/** Ends a command with one or more lines on stderr, each on its own: what is wrong, and what to do. */
export class CommandFailure extends Error {
  readonly lines: readonly string[];
  /** 1: it failed. 2: it was asked for wrongly. */
  readonly exitCode: 1 | 2;
  constructor(lines: string | readonly string[], exitCode: 1 | 2 = 1, options: ErrorOptions = {}) {
    const all = (typeof lines === 'string' ? [lines] : lines).map(oneLine);
    super(all.join('\n'), options);
    this.name = 'CommandFailure';
    this.lines = all;
    this.exitCode = exitCode;
  }
}

const MAX_LINE_LENGTH = 1_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROL = /[\u0000-\u001f\u007f-\u009f]+/g;

/** The text with line breaks and terminal control characters taken out, so that it stays one line. */
export function oneLine(text: string): string {
  const line = text.replaceAll(CONTROL, ' ').trim();
  return line.length > MAX_LINE_LENGTH ? `${line.slice(0, MAX_LINE_LENGTH)}…` : line;
}
