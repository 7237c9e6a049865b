/** What the three places say before anybody has judged it. */
import { closest } from './closest.ts';
import { type Source, shown } from './setting.ts';
import type { YamlEntry, YamlValue } from './yaml-file.ts';

/** Flags by key, as the command line gave them; repeated ones as a list. `config` is the file's path. */
export type FlagValues = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Layers {
  readonly flags: FlagValues;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The top of the YAML file; none without a file. */
  readonly entries: readonly YamlEntry[];
  readonly file: string;
}

/** One value as it was written, and where it belongs in the configuration. */
export interface Written {
  readonly path: readonly (string | number)[];
  readonly source: Source;
  readonly value: unknown;
  readonly secret: boolean;
}

/** Notes a wrong value; the complaint continues a sentence that starts with it. */
export type Complain = (at: Pick<Written, 'source' | 'value' | 'secret'>, complaint: string) => void;

export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** A YAML value without its places. */
export function plain(value: YamlValue): unknown {
  if (value.kind === 'scalar') return value.value;
  if (value.kind === 'empty') return '';
  if (value.kind === 'list') return value.items.map(plain);
  return Object.fromEntries(value.entries.map((entry) => [entry.key, plain(entry.value)]));
}

export function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  const advice = near === undefined ? `the keys are ${known.join(', ')}` : `did you mean ${near}?`;
  return `unknown key ${shown(key, false)}; ${advice}`;
}
