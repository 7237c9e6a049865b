/**
 * Settings that are read again while the program runs, at SIGHUP. Whatever comes of it is told in one line: what changed from what
 * to what, what takes a restart, or why nothing was changed.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { CommandFailure } from '../command-failure.ts';
import type { Resolved } from '../settings/resolve.ts';
import type { Setting } from '../settings/setting.ts';

export interface ReloadOptions {
  /** Starts every complaint, e.g. `shoal agent`. */
  program: string;
  settings: readonly Setting[];
}

export interface ReloadDependencies<T> {
  /** Reads all of it again. @throws CommandFailure */
  resolve: () => Resolved<T>;
  /** Takes over what is changeable among the settings. */
  apply: (config: T) => Promise<void>;
  setLogLevel: (level: string) => void;
  logger: Logger;
}

interface Change {
  setting: string;
  from: string;
  to: string;
}

export class Reload<T extends { log: { level: string } }> {
  readonly #options: ReloadOptions;
  readonly #dependencies: ReloadDependencies<T>;
  /** What is in force, by key. */
  readonly #inForce = new Map<string, { value: unknown; text: string }>();
  #turn: Promise<void> = Promise.resolve();

  constructor(options: ReloadOptions, started: Resolved<T>, dependencies: ReloadDependencies<T>) {
    this.#options = options;
    this.#dependencies = dependencies;
    for (const setting of options.settings) this.#inForce.set(setting.key, stateOf(setting, started));
  }

  /** One after the other. Never rejects. */
  run(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#run());
    return this.#turn;
  }

  async #run(): Promise<void> {
    const { resolve, apply, setLogLevel, logger } = this.#dependencies;
    let next: Resolved<T>;
    try {
      next = resolve();
    } catch (error) {
      const complaints = error instanceof CommandFailure ? error.lines : [String(error)];
      const said = complaints.map((line) => line.replace(`${this.#options.program}: `, '')).join('; ');
      logger.error(`settings not changed: ${said}`);
      return;
    }
    const changed: Change[] = [];
    const needRestart: Change[] = [];
    for (const setting of this.#options.settings) {
      const [before, after] = [this.#inForce.get(setting.key), stateOf(setting, next)];
      if (before === undefined || isDeepStrictEqual(before.value, after.value)) continue;
      const change = { setting: setting.key, from: before.text, to: after.text };
      if (setting.changeable !== true) {
        needRestart.push(change);
        continue;
      }
      changed.push(change);
      this.#inForce.set(setting.key, after);
    }
    const wasQuiet = !logger.isLevelEnabled('info');
    if (wasQuiet) setLogLevel(next.config.log.level);
    let trouble: unknown;
    if (changed.length > 0) {
      await apply(next.config).catch((error: unknown) => {
        trouble = error;
      });
    }
    tell(logger, changed, needRestart, trouble);
    setLogLevel(next.config.log.level);
  }
}

function tell(logger: Logger, changed: readonly Change[], needRestart: readonly Change[], trouble: unknown): void {
  const facts = { ...(changed.length > 0 && { changed }), ...(needRestart.length > 0 && { needRestart }) };
  const parts = [
    changed.length === 0
      ? 'nothing changed'
      : changed.map(({ setting, from, to }) => `${setting} ${from} → ${to}`).join(', '),
    ...(needRestart.length === 0
      ? []
      : [`only a restart changes ${needRestart.map(({ setting }) => setting).join(', ')}`]),
  ];
  const line = `settings read again: ${parts.join('; ')}`;
  if (trouble !== undefined) logger.warn({ ...facts, err: trouble }, `${line}; not all of it could be done yet`);
  else if (needRestart.length > 0) logger.warn(facts, line);
  else logger.info(facts, line);
}

function stateOf<T>(setting: Setting, { config, texts }: Resolved<T>): { value: unknown; text: string } {
  let value: unknown = config;
  for (const step of setting.path) value = (value as Record<string, unknown> | undefined)?.[step];
  return { value, text: texts.get(setting.key) ?? setting.defaultText ?? 'not set' };
}
