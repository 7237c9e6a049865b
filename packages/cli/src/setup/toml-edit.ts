/**
 * Changes one key of a TOML file and leaves every other byte as it is, comments included. The edit is made line by line and then
 * checked by parsing: whatever the edit would get wrong (inline tables, dotted keys) is refused, not written.
 */
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify, type TomlTable } from 'smol-toml';
import { SetupProblem } from './plan.ts';

export type TomlValue = string | boolean | readonly string[];

/** @throws SetupProblem */
export function parseToml(path: string, text: string): TomlTable {
  try {
    return parse(text);
  } catch {
    throw new SetupProblem(`${path} is not valid TOML; mend it first`);
  }
}

/** The value at a path of keys, if every step but the last is a table. */
export function tomlAt(table: TomlTable, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, key) => (isTable(at) ? at[key] : undefined), table);
}

/** Sets `key` of a table, which is made when it is not there. @throws SetupProblem */
export function setInToml(file: string, text: string, table: readonly string[], key: string, value: TomlValue): string {
  const wanted = structuredClone(parseToml(file, text));
  let at: TomlTable = wanted;
  for (const name of table) {
    at[name] ??= {};
    const next = at[name];
    if (!isTable(next)) throw byHand(file, table, key, value);
    at = next;
  }
  if (isDeepStrictEqual(at[key], value)) return text;
  at[key] = value as TomlTable[string];
  const edited = editLines(text, table, `${key} = ${literal(value)}`, key);
  // Cloned, because the parser's own objects have no prototype.
  if (!isDeepStrictEqual(structuredClone(parseOrNothing(edited)), wanted)) throw byHand(file, table, key, value);
  return edited;
}

function editLines(text: string, table: readonly string[], line: string, key: string): string {
  const lines = text.split('\n');
  const start = lines.findIndex((candidate) => isDeepStrictEqual(headerOf(candidate), table));
  if (start < 0) {
    const gap = text === '' || text.endsWith('\n\n') ? '' : text.endsWith('\n') ? '\n' : '\n\n';
    return `${text}${gap}[${table.map(quoted).join('.')}]\n  ${line}\n`;
  }
  const length = lines.slice(start + 1).findIndex((candidate) => /^\s*\[/.test(candidate));
  const end = length < 0 ? lines.length : start + 1 + length;
  const isKey = new RegExp(`^\\s*("${key}"|'${key}'|${key})\\s*=`);
  const old = lines.slice(start + 1, end).findIndex((candidate) => isKey.test(candidate));
  const indentOf = (index: number): string => /^\s*/.exec(lines[index] ?? '')?.[0] ?? '';
  if (old >= 0) lines[start + 1 + old] = indentOf(start + 1 + old) + line;
  else lines.splice(start + 1, 0, `${indentOf(start)}  ${line}`);
  return lines.join('\n');
}

/** The names in `[a."b.c".d]`; undefined for any other line, also for an array of tables. */
function headerOf(line: string): string[] | undefined {
  const [, inside] = /^\s*\[([^[\]]+)\]\s*(#.*)?$/.exec(line) ?? [];
  if (inside === undefined) return undefined;
  const names: string[] = [];
  for (const [, double, single, bare] of inside.matchAll(/\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*(?:\.|$)/g)) {
    names.push(double ?? single ?? bare ?? '');
  }
  return names;
}

function quoted(name: string): string {
  return /^[\w-]+$/.test(name) ? name : JSON.stringify(name);
}

function literal(value: TomlValue): string {
  return typeof value === 'object'
    ? `[${value.map((item) => JSON.stringify(item)).join(', ')}]`
    : JSON.stringify(value);
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function parseOrNothing(text: string): TomlTable | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

function byHand(file: string, table: readonly string[], key: string, value: TomlValue): SetupProblem {
  const wanted = `[${table.map(quoted).join('.')}] ${stringify({ [key]: value }).trim()}`;
  return new SetupProblem(`${file} is written in a way that cannot be edited safely; set it by hand: ${wanted}`);
}
