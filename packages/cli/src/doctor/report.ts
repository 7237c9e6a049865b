/** Findings as a person reads them: a line each, below it what to do. */
import type { TextOutput } from '../cli-io.ts';
import type { Finding, FindingState } from './finding.ts';

const SYMBOLS: Readonly<Record<FindingState, string>> = { ok: '✓', warn: '!', fail: '✗', skip: '-' };
const WORDS: readonly [FindingState, string][] = [
  ['ok', 'ok'],
  ['warn', 'to look at'],
  ['fail', 'wrong'],
  ['skip', 'skipped'],
];
const MIN_TEXT_WIDTH = 30;

/** @param output a terminal's width is kept to; elsewhere each finding stays one line, for grep */
export function reportText(findings: readonly Finding[], output: TextOutput): string {
  const nameWidth = Math.max(...findings.map(({ name }) => name.length), 0);
  const indent = ' '.repeat(nameWidth + 4);
  const width = output.isTTY === true ? Math.max(MIN_TEXT_WIDTH, (output.columns ?? 80) - indent.length) : undefined;
  const lines = findings.flatMap(({ name, state, detail, todo }) => {
    const [first = '', ...rest] = wrapped(detail, width);
    const [firstTodo, ...restTodo] =
      todo === undefined ? [] : wrapped(todo, width === undefined ? undefined : width - 2);
    return [
      `${SYMBOLS[state]} ${name.padEnd(nameWidth)}  ${first}`,
      ...rest.map((line) => `${indent}${line}`),
      ...(firstTodo === undefined ? [] : [`${indent}→ ${firstTodo}`]),
      ...restTodo.map((line) => `${indent}  ${line}`),
    ];
  });
  return `${lines.join('\n')}\n\n${summary(findings)}\n`;
}

function summary(findings: readonly Finding[]): string {
  return WORDS.flatMap(([state, word]) => {
    const count = findings.filter((finding) => finding.state === state).length;
    return count === 0 ? [] : [`${count} ${word}`];
  }).join(', ');
}

function wrapped(text: string, width: number | undefined): string[] {
  if (width === undefined) return [text];
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
