/**
 * The one logger of a process: to stderr, JSON for machines, readable for a person at a terminal. Secrets are taken out
 * twice: the fields that hold them, and what looks like one in any text.
 */
import { type DestinationStream, type Logger, pino } from 'pino';
import type { TextOutput } from '../cli-io.ts';
import { readableLine } from './readable.ts';
import { REDACTED, redactedPaths } from './redaction.ts';
import { withoutSecrets } from './without-secrets.ts';

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
      const harmless = withoutSecrets(line);
      output.write(isReadable ? readableLine(harmless, { color: isTerminal }) : harmless);
    },
  };
  return pino({ level: options.level, redact: { paths: [...redactedPaths], censor: REDACTED } }, destination);
}
