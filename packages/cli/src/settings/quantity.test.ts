import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseDuration, parseSize } from './quantity.ts';

test.each([
  ['50GiB', 53_687_091_200],
  ['500MB', 500_000_000],
  ['1.5 GiB', 1_610_612_736],
  ['64k', 65_536],
  ['1048576', 1_048_576],
  ['0', 0],
  [' 1kb ', 1_000],
])('%s is a size', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', 'GiB', '-1', '5zB', '1e3', '0x10', '1,5GiB', '1 000', '99999999TiB', '50GiBs'])(
  '%j is no size',
  (text) => {
    expect(parseSize(text)).toBeUndefined();
  },
);

test('every whole number of bytes is read as itself', () => {
  fc.assert(fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (bytes) => parseSize(String(bytes)) === bytes));
});

test('a duration has a unit', () => {
  expect(parseDuration('500ms')).toBe(500);
  expect(parseDuration('1.5m')).toBe(90_000);
  expect(parseDuration('1h')).toBe(3_600_000);
  expect(parseDuration('500')).toBeUndefined();
});
