import { expect, test } from 'vitest';
import { parseContentRange } from './content-range.ts';

test('a range with its total', () => {
  expect(parseContentRange('bytes 0-9/100')).toEqual({ served: { start: 0, end: 10 }, sizeBytes: 100 });
});

test('a range of unknown total', () => {
  expect(parseContentRange('bytes 5-5/*')).toEqual({ served: { start: 5, end: 6 }, sizeBytes: undefined });
});

test('a 416 names the size alone', () => {
  expect(parseContentRange('bytes */7')).toEqual({ served: undefined, sizeBytes: 7 });
});

test.each([undefined, '', 'bytes', 'bytes 9-0/100', 'bytes 0-100/100', 'items 0-9/100', 'bytes 0-9', 'bytes -9/100'])(
  '%s is no range',
  (header) => {
    expect(parseContentRange(header)).toBeUndefined();
  },
);
