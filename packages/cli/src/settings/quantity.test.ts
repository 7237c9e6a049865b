import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseDuration, parseRate, parseSize, writtenDuration, writtenSize } from './quantity.ts';

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

test.each([
  ['50MiB', 52_428_800],
  ['50MiB/s', 52_428_800],
  ['500kB /S ', 500_000],
  ['65536', 65_536],
])('%s is a rate', (text, bytesPerSecond) => {
  expect(parseRate(text)).toBe(bytesPerSecond);
});

test.each(['/s', '50Mbit/s', '50MiB/m', '50MiB/s/s', '-1/s'])('%j is no rate', (text) => {
  expect(parseRate(text)).toBeUndefined();
});

test('every whole number of bytes is read as itself', () => {
  fc.assert(fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (bytes) => parseSize(String(bytes)) === bytes));
});

const sizeUnits: Record<string, number> = {
  '': 1,
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  K: 2 ** 10,
  Mi: 2 ** 20,
  GiB: 2 ** 30,
};
const durationUnits: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

test.each([
  ['size', parseSize, sizeUnits],
  ['duration', parseDuration, durationUnits],
] as const)('a %s is its number times its unit, in any case and with or without a space', (_name, parse, units) => {
  fc.assert(
    fc.property(
      fc.nat(9_999),
      fc.constantFrom(...Object.keys(units)),
      fc.boolean(),
      fc.boolean(),
      (n, unit, lower, space) => {
        const text = `${n}${space ? ' ' : ''}${lower ? unit.toLowerCase() : unit.toUpperCase()}`;
        expect(parse(text)).toBe(n * (units[unit] ?? Number.NaN));
      },
    ),
  );
});

test('no text makes a quantity that cannot be counted', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9.]{0,20} ?[a-zA-Z]{0,4}$/), (text) => {
      for (const value of [parseSize(text), parseDuration(text)]) {
        expect(value === undefined || (Number.isSafeInteger(value) && value >= 0)).toBe(true);
      }
    }),
  );
});

test('a duration has a unit, unless it is none', () => {
  expect(parseDuration('500ms')).toBe(500);
  expect(parseDuration('1.5m')).toBe(90_000);
  expect(parseDuration('1h')).toBe(3_600_000);
  expect(parseDuration('500')).toBeUndefined();
  expect(parseDuration(' 0 ')).toBe(0);
  expect(parseDuration('00')).toBeUndefined();
});

test('what is written is read as the same, in the largest unit without a fraction', () => {
  expect([writtenSize(16 * 2 ** 20), writtenSize(1536), writtenSize(1000)]).toEqual(['16MiB', '1536', '1000']);
  expect([writtenDuration(0), writtenDuration(90_000), writtenDuration(7 * 86_400_000)]).toEqual(['0', '90s', '7d']);
  fc.assert(
    fc.property(fc.nat(), fc.nat({ max: 2 ** 20 }), fc.constantFrom(1, 1_000, 1_024, 60_000), (a, b, scale) => {
      for (const value of [a, b * scale]) {
        expect(parseSize(writtenSize(value))).toBe(value);
        expect(parseDuration(writtenDuration(value))).toBe(value);
      }
    }),
  );
});
