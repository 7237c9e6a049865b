import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestAlgorithm, digestHex, parseDigest } from './digest.ts';

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const wellFormed = fc.oneof(
  hex(64).map((digits) => ({ algorithm: 'sha256', digits })),
  hex(128).map((digits) => ({ algorithm: 'sha512', digits })),
);

test('takes every well-formed digest apart again', () => {
  fc.assert(
    fc.property(wellFormed, ({ algorithm, digits }) => {
      const digest = parseDigest(`${algorithm}:${digits}`)!;
      expect([digestAlgorithm(digest), digestHex(digest)]).toEqual([algorithm, digits]);
    }),
  );
});

test.each([
  'sha256:',
  `sha256:${'a'.repeat(63)}`,
  `sha256:${'A'.repeat(64)}`,
  `sha512:${'a'.repeat(64)}`,
  `md5:${'a'.repeat(32)}`,
  `sha256:${'a'.repeat(64)}\n`,
  'a'.repeat(64),
])('refuses %j', (text) => {
  expect(parseDigest(text)).toBeUndefined();
});
