/**
 * From what was written to the schema's input: flags win over SHOAL_* variables, those over the YAML file, and what
 * nobody wrote is left to the schema's defaults. Lists are taken whole from the strongest place; registries are taken
 * host by host, each whole, so that the credentials of one place never go to the address of another.
 *
 *   flags ──────┐
 *   environment ┼─► Written (value + source) ─► strongest per setting ─► read ─► schema ─► config
 *   YAML file ──┘                                                          └── wrong ──┴─► one line each
 */
import type { z } from 'zod';
import { CommandFailure } from '../command-failure.ts';
import { closest } from './closest.ts';
import { findRegistries } from './registries.ts';
import { readNamedFile } from './secret-file.ts';
import { flagOf, placeOf, type Setting, type Source, shown, variableOf } from './setting.ts';
import { type Complain, type FlagValues, type Layers, plain, splitList, unknownKey, type Written } from './written.ts';
import { readYamlFile, type YamlEntry, type YamlValue } from './yaml-file.ts';

export interface SettingSources {
  /** Starts every complaint, e.g. `shoal agent`. */
  readonly program: string;
  readonly flags: FlagValues;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Resolved<T> {
  readonly config: T;
  /** By key, how a value was written where one was, as it may be shown. */
  readonly texts: ReadonlyMap<string, string>;
  /** Things worth a line in the log that do not stop a start. */
  readonly warnings: readonly string[];
}

/** @throws CommandFailure with exit code 2 and one line per wrong value */
export function resolveSettings<S extends z.ZodType>(
  settings: readonly Setting[],
  schema: S,
  sources: SettingSources,
): Resolved<z.output<S>> {
  const { program, flags, env } = sources;
  const file = configFile(sources);
  const entries = file === undefined ? [] : readYamlFile(program, file.named, file.path);
  const problems: string[] = file === undefined ? [] : unknownKeys(settings, entries, file.path);
  const written: Written[] = [];
  const texts = new Map<string, string>();
  const input: Record<string, unknown> = {};
  const complain: Complain = (at, complaint) => {
    problems.push(sentence(at, complaint));
  };
  const layers: Layers = { flags, env, entries, file: file?.path ?? '' };
  for (const setting of settings) {
    if (setting.shape === 'registries') {
      const found = findRegistries(setting, layers, complain);
      if (found === undefined) continue;
      written.push(...found.written);
      texts.set(setting.key, '(not shown)');
      assign(input, setting.path, found.input);
    } else {
      const found = strongest(setting, layers);
      if (found === undefined) continue;
      written.push({
        path: setting.path,
        source: found.source,
        value: found.shown,
        secret: isSecret(setting, found.shown),
      });
      texts.set(setting.key, textOf(setting, found));
      assign(input, setting.path, readFound(setting, found, written, complain));
    }
  }

  // Complaints about the form come first: what the schema would say about a hole in the input is noise.
  const parsed = problems.length === 0 ? schema.safeParse(input) : undefined;
  if (parsed?.success === false) {
    for (const issue of parsed.error.issues) problems.push(lineFor(issue, settings, written));
  }
  if (parsed?.success !== true) {
    const lines = [...new Set(problems)].map((problem) => `${program}: ${problem}`);
    throw new CommandFailure(lines, 2);
  }
  return { config: parsed.data, texts, warnings: mistypedVariables(settings, env) };
}

function configFile({ flags, env }: SettingSources): { path: string; named: string } | undefined {
  if (typeof flags.config === 'string') return { path: flags.config, named: '--config' };
  const fromEnv = env.SHOAL_CONFIG;
  return fromEnv === undefined || fromEnv === '' ? undefined : { path: fromEnv, named: 'SHOAL_CONFIG' };
}

function unknownKeys(settings: readonly Setting[], entries: readonly YamlEntry[], file: string): string[] {
  const known = settings.map(({ key }) => key);
  return entries
    .filter(({ key }) => !known.includes(key))
    .map(({ key, line, column }) => `${file}:${line}:${column}: ${unknownKey(key, known)}`);
}

interface Found {
  readonly source: Source;
  /** All of it, for a message. */
  readonly shown: unknown;
  readonly parts: readonly { value: unknown; source: Source }[];
  readonly isList: boolean;
}

/** What the strongest place says about a setting. An empty variable and an empty YAML value say nothing. */
function strongest(setting: Setting, { flags, env, entries, file }: Layers): Found | undefined {
  const { key, shape } = setting;
  const flag = flags[key];
  if (flag !== undefined) {
    const source: Source = { kind: 'flag', key };
    const texts = typeof flag === 'string' ? [flag] : flag;
    return {
      source,
      shown: texts.join(', '),
      parts: texts.map((value) => ({ value, source })),
      isList: shape === 'list',
    };
  }
  const variable = env[variableOf(key)];
  if (variable !== undefined && variable !== '') {
    const source: Source = { kind: 'environment', key };
    const texts = shape === 'list' ? splitList(variable) : [variable];
    return { source, shown: variable, parts: texts.map((value) => ({ value, source })), isList: shape === 'list' };
  }
  const value = entries.find((candidate) => candidate.key === key)?.value;
  if (value === undefined || value.kind === 'empty') return undefined;
  const sourceOf = ({ line, column }: YamlValue): Source => ({ kind: 'file', key, file, line, column });
  const isList = value.kind === 'list';
  const parts = (isList ? value.items : [value]).map((item) => ({ value: plain(item), source: sourceOf(item) }));
  return { source: sourceOf(value), shown: plain(value), parts, isList };
}

function textOf(setting: Setting, { parts, shown }: Found): string {
  return isSecret(setting, shown) ? '(not shown)' : parts.map(({ value }) => String(value)).join(',');
}

function readFound(setting: Setting, found: Found, written: Written[], complain: Complain): unknown {
  const secret = setting.secret === true;
  if (setting.shape === 'list') {
    return found.parts.map((part, index) => {
      const one: Written = { path: [...setting.path, index], ...part, secret };
      written.push(one);
      return readOne(setting, one, complain);
    });
  }
  const [part] = found.parts;
  if (found.isList || part === undefined) {
    complain({ source: found.source, value: found.shown, secret }, 'is a list; give a single value');
    return undefined;
  }
  return readOne(setting, { path: setting.path, ...part, secret }, complain);
}

function readOne(setting: Setting, written: Written, complain: Complain): unknown {
  const { value } = written;
  if (typeof value === 'object') {
    complain(written, 'is not a single value; give one');
    return undefined;
  }
  let text = String(value);
  if ((setting.secret === true || setting.fromFile === true) && text.startsWith('@')) {
    const read = readNamedFile(text.slice(1));
    if ('problem' in read) {
      // A path is no secret.
      complain({ ...written, secret: false }, read.problem);
      return undefined;
    }
    text = read.text.trim();
  }
  const result = setting.reader.read(text);
  if (result === undefined) complain(written, setting.reader.complaint);
  return result;
}

/** `@FILE` is a path, which may be shown. */
function isSecret(setting: Setting, value: unknown): boolean {
  return setting.secret === true && !(typeof value === 'string' && value.startsWith('@'));
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [head = '', ...rest] = path;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const inner = { ...(target[head] as Record<string, unknown> | undefined) };
  assign(inner, rest, value);
  target[head] = inner;
}

function sentence(at: Pick<Written, 'source' | 'value' | 'secret'>, complaint: string): string {
  return [placeOf(at.source), shown(at.value, at.secret), complaint].filter((part) => part !== '').join(' ');
}

function lineFor(issue: z.core.$ZodIssue, settings: readonly Setting[], written: readonly Written[]): string {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  const isPrefix = (short: readonly unknown[], long: readonly unknown[]): boolean =>
    short.every((step, index) => step === long[index]);
  const near = written.filter((one) => isPrefix(one.path, path)).sort((a, b) => b.path.length - a.path.length)[0];
  if (near !== undefined) return sentence(near, issue.message);
  const setting = settings.find((one) => isPrefix(one.path, path) || isPrefix(path, one.path));
  return `${setting === undefined ? path.join('.') : flagOf(setting.key)} ${issue.message}`;
}

/** A misspelt variable would be ignored in silence; others, such as Kubernetes' own for a service, are left alone. */
function mistypedVariables(settings: readonly Setting[], env: Readonly<Record<string, string | undefined>>): string[] {
  const known = ['SHOAL_CONFIG', ...settings.map(({ key }) => variableOf(key))];
  return Object.keys(env)
    .filter((name) => name.startsWith('SHOAL_') && !known.includes(name))
    .flatMap((name) => {
      const near = closest(
        name.slice('SHOAL_'.length),
        known.map((other) => other.slice('SHOAL_'.length)),
      );
      return near === undefined ? [] : [`the variable ${name} is unknown and ignored; did you mean SHOAL_${near}?`];
    });
}
