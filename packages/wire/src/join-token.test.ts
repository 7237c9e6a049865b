import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatJoinToken, parseJoinToken } from './join-token.ts';

const base64url = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes).toString('base64url'));
const token = fc.record({ pin: base64url(32, 32), secret: base64url(16, 64) });

test('what was formatted parses back, also with the newline of a file', () => {
  fc.assert(
    fc.property(token, (value) => {
      expect(parseJoinToken(formatJoinToken(value))).toEqual(value);
      expect(parseJoinToken(`${formatJoinToken(value)}\n`)).toEqual(value);
    }),
  );
});

test('any text is either refused or has exactly one spelling', () => {
  const nearMisses = fc
    .tuple(token, fc.nat(120), fc.string({ maxLength: 3 }))
    .map(([value, at, noise]) => formatJoinToken(value).slice(0, at) + noise + formatJoinToken(value).slice(at + 1));
  fc.assert(
    fc.property(fc.oneof(fc.string(), nearMisses), (text) => {
      const parsed = parseJoinToken(text);
      if (parsed !== undefined) expect(formatJoinToken(parsed)).toBe(text.trim());
    }),
    { numRuns: 1000 },
  );
});

test.each([
  ['nothing', ''],
  ['another version', `shoal2.${'A'.repeat(43)}.${'A'.repeat(43)}`],
  ['a short pin', `shoal1.${'A'.repeat(42)}.${'A'.repeat(43)}`],
  ['a short secret', `shoal1.${'A'.repeat(43)}.AAAA`],
  ['a fourth part', `shoal1.${'A'.repeat(43)}.${'A'.repeat(43)}.A`],
  ['stray bits after the last byte', `shoal1.${'A'.repeat(42)}B.${'A'.repeat(43)}`],
  ['the other base64 alphabet', `shoal1.${'A'.repeat(41)}+A.${'A'.repeat(43)}`],
])('refuses %s', (_what, text) => {
  expect(parseJoinToken(text)).toBeUndefined();
});
