import { expect, test } from 'vitest';
import type { Finding } from './finding.ts';
import { reportText } from './report.ts';

const findings: Finding[] = [
  { name: 'agent', state: 'ok', detail: 'is up' },
  {
    name: 'tracker',
    state: 'fail',
    detail: 'one two three four five six seven eight',
    todo: 'do this and that and that, too',
  },
  { name: 'origin', state: 'skip', detail: 'none' },
];
const output = (more: { isTTY?: boolean; columns?: number } = {}) => ({ write: () => undefined, ...more });

test('a finding is a line, with what to do below it', () => {
  expect(reportText(findings, output())).toBe(
    [
      '✓ agent    is up',
      '✗ tracker  one two three four five six seven eight',
      '           → do this and that and that, too',
      '- origin   none',
      '',
      '1 ok, 1 wrong, 1 skipped',
      '',
    ].join('\n'),
  );
});

test('a terminal is not overrun, whatever its width', () => {
  const lines = reportText(findings, output({ isTTY: true, columns: 42 })).split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(42);
  expect(lines.slice(1, 5)).toEqual([
    '✗ tracker  one two three four five six',
    '           seven eight',
    '           → do this and that and that,',
    '             too',
  ]);
});
