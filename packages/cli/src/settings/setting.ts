/**
 * A setting has one name in three spellings: `cache-size` is the flag `--cache-size`, the variable `SHOAL_CACHE_SIZE` and
 * the YAML key `cache-size`. Each program has one table of them, and everything else follows from the tables: flags and
 * help, where a value came from, what is wrong with it.
 */

import { withoutSecrets } from '../log/without-secrets.ts';

/** Turns what was written (text, or a YAML number or boolean) into the schema's input. */
export interface Reader {
  /** How people write it, for the configuration page; none for text, which its schema describes. */
  readonly form?: string;
  /** Continues a sentence that starts with the wrong value. */
  readonly complaint: string;
  /** Undefined: this cannot be read. */
  read(written: string): unknown;
  /** The other way round: a bound of the schema, as a person would write it. */
  write?(value: number): string;
}

export interface Setting {
  /** It and those that follow, up to the next one that has this, belong together under this name. */
  readonly beginsGroup?: string;
  readonly key: string;
  /** Where the value stands in the program's configuration. */
  readonly path: readonly string[];
  /** What help calls the value. */
  readonly placeholder: string;
  readonly help: string;
  /** As a person would write it; a test compares it with the schema's default. */
  readonly defaultText?: string;
  readonly reader: Reader;
  /** `list`: may be given several times; separated by commas in the environment. `registries`: `HOST=URL`, several. */
  readonly shape: 'one' | 'list' | 'registries';
  /** Never shown; `@FILE` stands for what is in the file. */
  readonly secret?: true;
  /** `@FILE` stands for what is in the file here, too. */
  readonly fromFile?: true;
  /** A running program takes it over at SIGHUP; the others take a restart. */
  readonly changeable?: true;
}

/** The default of a setting, for commands that speak to the program which has it. */
export function defaultTextOf(settings: readonly Setting[], key: string): string {
  const text = settings.find((setting) => setting.key === key)?.defaultText;
  if (text === undefined) throw new Error(`no default of ${key}`);
  return text;
}

export function flagOf(key: string): string {
  return `--${key}`;
}

export function variableOf(key: string): string {
  return `SHOAL_${key.toUpperCase().replaceAll('-', '_')}`;
}

/** Where a value was written. */
export type Source =
  | { readonly kind: 'flag'; readonly key: string }
  | { readonly kind: 'environment'; readonly key: string }
  | {
      readonly kind: 'file';
      readonly key: string;
      readonly file: string;
      readonly line: number;
      readonly column: number;
    };

/** The beginning of a complaint: the flag, the variable, or the place in the file with the key. */
export function placeOf(source: Source): string {
  switch (source.kind) {
    case 'flag':
      return flagOf(source.key);
    case 'environment':
      return variableOf(source.key);
    case 'file':
      return `${source.file}:${source.line}:${source.column}: ${source.key}`;
  }
}

const MAX_SHOWN_LENGTH = 80;
/** Secrets are looked for in this much; of longer values nothing is shown. */
const MAX_SEARCHED_LENGTH = 4_096;

/** A wrong value as it may appear in a message: quoted, short, on one line, without what may be a login or a token. */
export function shown(value: unknown, secret: boolean): string {
  if (value === undefined) return '';
  if (secret) return '(not shown)';
  // Anything may stand inside these, also a secret under a mistyped key.
  if (typeof value === 'object') return Array.isArray(value) ? '(a list)' : '(a map)';
  const text = String(value);
  if (text.length > MAX_SEARCHED_LENGTH) return `(${text.length} characters)`;
  const harmless = withoutSecrets(text)
    .replaceAll(/([\w.=+-]*:\/\/)?\S+@/g, '$1…@')
    .replaceAll(/\?\S+/g, '?…');
  return JSON.stringify(harmless.length > MAX_SHOWN_LENGTH ? `${harmless.slice(0, MAX_SHOWN_LENGTH)}…` : harmless);
}
