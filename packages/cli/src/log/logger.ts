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

export interface ProcessLog {
  logger: Logger;
  /** Of this logger and of all that were made of it. */
  setLevel(level: string): void;
}

/** Enough for the rooms of a program and what is under way there. */
const FIRST_PRUNE_SIZE = 256;

export function createLogger(options: LogOptions, output: TextOutput): Logger {
  return createProcessLog(options, output).logger;
}

export function createProcessLog(options: LogOptions, output: TextOutput): ProcessLog {
  const isTerminal = output.isTTY === true;
  const isReadable = options.format === 'pretty' || (options.format === 'auto' && isTerminal);
  const destination: DestinationStream = {
    write: (line) => {
      const harmless = withoutSecrets(line);
      output.write(isReadable ? readableLine(harmless, { color: isTerminal }) : harmless);
    },
  };
  const children = new Children();
  const redact = { paths: [...redactedPaths], censor: REDACTED };
  const logger = pino({ level: options.level, redact, onChild: (child) => children.add(child) }, destination);
  return {
    logger,
    setLevel(level) {
      logger.level = level;
      for (const child of children.all()) child.level = level;
    },
  };
}

/** pino gives each child a level of its own. Most live as long as a request: they are not kept alive for this. */
class Children {
  #held = new Set<WeakRef<Logger>>();
  #pruneSize = FIRST_PRUNE_SIZE;

  add(child: Logger): void {
    this.#held.add(new WeakRef(child));
    if (this.#held.size < this.#pruneSize) return;
    this.#held = new Set([...this.#held].filter((held) => held.deref() !== undefined));
    this.#pruneSize = Math.max(FIRST_PRUNE_SIZE, 2 * this.#held.size);
  }

  *all(): Generator<Logger> {
    for (const held of this.#held) {
      const child = held.deref();
      if (child !== undefined) yield child;
    }
  }
}
