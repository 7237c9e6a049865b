import { expect, test } from 'vitest';
import { linesBetween, unhandled } from './log-check.ts';

const line = (more: object): string => JSON.stringify({ level: 40, time: 1_000, msg: 'a peer went away', ...more });

test('what the world did to a program is no unhandled error', () => {
  const lines = [
    line({}),
    line({
      level: 50,
      err: { type: 'CallError', message: 'the tracker cannot be reached', stack: 'CallError: …\n    at x.ts:1:2' },
    }),
    '{"event":"ready","mirror":"http://127.0.0.1:7300"}',
    '',
  ];
  expect(unhandled(lines.join('\n'))).toEqual([]);
});

test.each([
  ['a fatal line', line({ level: 60 })],
  ['a mistake in the program', line({ err: { type: 'TypeError', message: 'x is undefined' } })],
  ['a line that tells of one', line({ msg: 'unhandled rejection' })],
  ['a stack of Node', '    at Socket.emit (node:events:508:28)'],
  ['a warning of Node', '(node:7) MaxListenersExceededWarning: Possible EventEmitter memory leak detected.'],
  ['a heap that is full', 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory'],
])('%s is found', (_what, text) => {
  expect(unhandled([line({}), text].join('\n'))).toEqual([text]);
});

test('the last lines of a time are told, and nothing that has no time', () => {
  const log = [line({ time: 999 }), line({ time: 1_000 }), 'no time', line({ time: 2_000 }), line({ time: 2_001 })];
  expect(linesBetween(log.join('\n'), 1_000, 2_000, 5)).toEqual([log[1], log[3]]);
  expect(linesBetween(log.join('\n'), 1_000, 2_000, 1)).toEqual([log[3]]);
});
