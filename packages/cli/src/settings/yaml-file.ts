/** A YAML file as a tree in which every value knows its line and column, so that a complaint can point at it. */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { CommandFailure } from '../command-failure.ts';
import { readNamedFile } from './secret-file.ts';

const MAX_DEPTH = 8;
/** Aliases can make a short file large. */
const MAX_VALUES = 20_000;

export interface Position {
  readonly line: number;
  readonly column: number;
}

export type YamlValue = Position &
  (
    | { readonly kind: 'scalar'; readonly value: string | number | boolean }
    | { readonly kind: 'empty' }
    | { readonly kind: 'list'; readonly items: readonly YamlValue[] }
    | { readonly kind: 'map'; readonly entries: readonly YamlEntry[] }
  );

export interface YamlEntry extends Position {
  readonly key: string;
  readonly value: YamlValue;
}

/** The entries at the top of the file; an empty file has none. @throws CommandFailure one line with file:line:column */
export function readYamlFile(program: string, source: string, file: string): readonly YamlEntry[] {
  const complain = (text: string): CommandFailure => new CommandFailure(`${program}: ${text}`, 2);
  const read = readNamedFile(file);
  if ('problem' in read) throw complain(`${source} ${JSON.stringify(file)} ${read.problem}`);
  const lines = new LineCounter();
  const document = parseDocument(read.text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const place = ({ line, column }: Position): string => `${file}:${line}:${column}`;
  const error = document.errors[0];
  if (error !== undefined) {
    const why = SYNTAX[error.code] ?? 'this is not YAML; check the indentation, quotes and brackets around here';
    throw complain(`${place(at(error.pos[0]))}: ${why}`);
  }
  const refuse = (position: Position, why: string): never => {
    throw complain(`${place(position)}: ${why}`);
  };
  const root = placed(document.contents, { document, at, refuse, valuesLeft: MAX_VALUES }, 0);
  if (root.kind === 'empty') return [];
  if (root.kind !== 'map') return refuse(root, 'settings are expected here, as lines of "key: value"');
  return root.entries;
}

interface Tree {
  readonly document: Document;
  readonly at: (offset: number) => Position;
  readonly refuse: (position: Position, why: string) => never;
  valuesLeft: number;
}

function placed(given: Node | null, tree: Tree, depth: number): YamlValue {
  const { document, at, refuse } = tree;
  const position = at(given?.range?.[0] ?? 0);
  if (depth > MAX_DEPTH) return refuse(position, 'this is nested too deeply; no setting is');
  tree.valuesLeft -= 1;
  if (tree.valuesLeft < 0) return refuse(position, 'the file holds too many values; it is no configuration');
  const node = isAlias(given) ? given.resolve(document) : given;
  // `mirror: *:7300` names an anchor that is nowhere.
  if (node === undefined) return refuse(position, BAD_ALIAS);
  const inside = (child: unknown): YamlValue => placed(child as Node | null, tree, depth + 1);
  if (node === null) return { ...position, kind: 'empty' };
  if (isSeq(node)) return { ...position, kind: 'list', items: node.items.map(inside) };
  if (isMap(node)) {
    const entries = node.items.map((pair): YamlEntry => {
      const key = pair.key as Node;
      const keyPosition = at(key.range?.[0] ?? 0);
      if (!isScalar(key)) return refuse(keyPosition, 'a key must be a word');
      const value = inside(pair.value);
      // An entry without a value has no place of its own.
      return {
        ...keyPosition,
        key: String(key.value),
        value: value.kind === 'empty' ? { ...value, ...keyPosition } : value,
      };
    });
    return { ...position, kind: 'map', entries };
  }
  const value = isScalar(node) ? node.value : undefined;
  if (value === null) return { ...position, kind: 'empty' };
  if (typeof value === 'string' || typeof value === 'boolean') return { ...position, kind: 'scalar', value };
  // A number keeps its spelling: 0x10 and 1_000 are no sizes, and 1.10 is not 1.1.
  if (typeof value === 'number')
    return { ...position, kind: 'scalar', value: (isScalar(node) && node.source) || value };
  return refuse(position, 'a setting must be text, a number, true or false; put it in quotes');
}

const BAD_ALIAS = 'a value that starts with * must be in quotes';

/** Words of our own, because the parser's may quote what stands there, and that may be a secret. */
const SYNTAX: Readonly<Record<string, string>> = {
  BAD_ALIAS,
  BAD_DQ_ESCAPE: 'this \\ sequence is unknown; write \\\\ for a backslash, or use single quotes',
  BAD_INDENT: 'this line is indented wrongly; keys of one level start in the same column',
  BAD_SCALAR_START: 'a value that starts with @, ` or % must be in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second "key: value" in the same line; give it its own line, or put the value in quotes',
  DUPLICATE_KEY: 'this key stands here for the second time; keep one of them',
  MISSING_CHAR: 'a character is missing here; check the colons, quotes and brackets',
  MULTILINE_IMPLICIT_KEY: 'a "key: value" is expected here',
  MULTIPLE_DOCS: 'the file holds several documents; keep the first and remove the line ---',
  TAB_AS_INDENT: 'a tab indents this line; use spaces',
};
