import { expect, test } from 'vitest';
import { readableLine } from './readable.ts';

const plain = { color: false };

test('has time, level, message and fields in one line', () => {
  const json = JSON.stringify({
    level: 40,
    time: 0,
    pid: 1,
    hostname: 'h',
    room: 'peers',
    n: 2,
    o: { a: 1 },
    msg: 'slow',
  });
  expect(readableLine(json, plain)).toBe('00:00:00.000 warn  slow room=peers n=2 o={"a":1}\n');
});

test('an error shows its stack below', () => {
  const json = JSON.stringify({
    level: 50,
    time: 0,
    msg: 'failed',
    err: { message: 'no', stack: 'Error: no\n    at a' },
  });
  expect(readableLine(json, plain)).toBe('00:00:00.000 error failed\n    Error: no\n        at a\n');
});

test('a message or field with a line break stays one line', () => {
  const json = JSON.stringify({ level: 30, time: 0, msg: 'a\nb', field: 'c\r\nd' });
  expect(readableLine(json, plain)).toBe('00:00:00.000 info  a b field=c  d\n');
});

test('nothing from outside moves the cursor', () => {
  const json = JSON.stringify({ level: 30, time: 0, msg: 'a\u001b[2Jb', field: 'c\rd' });
  expect(readableLine(json, plain)).toBe('00:00:00.000 info  a [2Jb field=c d\n');
});

test('what is no log line is passed on', () => {
  expect(readableLine('not json\n', plain)).toBe('not json\n');
  expect(readableLine('[1]\n', plain)).toBe('[1]\n');
});
