/** The one logger of a process: to stderr, JSON for machines, readable for a person at a terminal, secrets taken out. */
import { type DestinationStream, type Logger, pino } from 'pino';
import type { TextOutput } from '../cli-io.ts';
import { readableLine } from './readable.ts';
import { REDACTED, redactedPaths } from './redaction.ts';

export interface LogOptions {
  level: string;
  /** `auto`: readable on a terminal, JSON elsewhere. */
  format: 'auto' | 'json' | 'pretty';
}

export function createLogger(options: LogOptions, output: TextOutput): Logger {
  const isTerminal = output.isTTY === true;
  const isReadable = options.format === 'pretty' || (options.format === 'auto' && isTerminal);
  const destination: DestinationStream = {
    write: (line) => {
      output.write(isReadable ? readableLine(line, { color: isTerminal }) : line);
    },
  };
  return pino({ level: options.level, redact: { paths: [...redactedPaths], censor: REDACTED } }, destination);
}
