import fc from 'fast-check';
import { expect, test } from 'vitest';
import { applyRange, parseRangeHeader } from './range.ts';

const answer = (header: string | undefined, sizeBytes: number) => applyRange(parseRangeHeader(header), sizeBytes);

test.each([
  ['bytes=500-1499', { kind: 'range', start: 500, end: 1500 }],
  ['bytes=500-', { kind: 'range', start: 500, end: 3000 }],
  ['bytes=-500', { kind: 'range', start: 2500, end: 3000 }],
  ['bytes=-5000', { kind: 'range', start: 0, end: 3000 }],
  ['bytes=2000-5000', { kind: 'range', start: 2000, end: 3000 }],
  ['bytes=0-', { kind: 'range', start: 0, end: 3000 }],
  ['Bytes= 0-0 ,', { kind: 'range', start: 0, end: 1 }],
  ['bytes=500-0', { kind: 'unsatisfiable' }],
  ['bytes=5000-10000', { kind: 'unsatisfiable' }],
  ['bytes=3000-', { kind: 'unsatisfiable' }],
  ['bytes=-0', { kind: 'unsatisfiable' }],
  [`bytes=${'9'.repeat(400)}-`, { kind: 'unsatisfiable' }],
  ['bytes=0-1,5-6', { kind: 'multiple' }],
  ['bytes=', { kind: 'invalid' }],
  ['bytes=-', { kind: 'invalid' }],
  ['bytes=a-b', { kind: 'invalid' }],
  ['bytes=1', { kind: 'invalid' }],
  ['bytes=1-2-3', { kind: 'invalid' }],
  ['bytes=0x1-2', { kind: 'invalid' }],
  ['pieces=0-1', { kind: 'invalid' }],
  [undefined, { kind: 'whole' }],
])('%s of 3000 bytes', (header, expected) => {
  expect(answer(header, 3000)).toEqual(expected);
});

test('sends an empty blob whole', () => {
  expect(answer('bytes=0-', 0)).toEqual({ kind: 'whole' });
});

test('a range is never empty and never outside the blob', () => {
  const number = fc.oneof(fc.nat(), fc.constant(''));
  fc.assert(
    fc.property(number, number, fc.integer({ min: 1, max: 2 ** 40 }), (first, last, sizeBytes) => {
      const range = answer(`bytes=${first}-${last}`, sizeBytes);
      if (range.kind === 'range') {
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeGreaterThan(range.start);
        expect(range.end).toBeLessThanOrEqual(sizeBytes);
      }
    }),
  );
});
