import { MANIFEST_ACCEPT, OCI_INDEX, OCI_MANIFEST } from '@shoal/oci';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { acceptClass } from './accept-class.ts';

const range = fc.constantFrom(OCI_INDEX, OCI_MANIFEST, '*/*', 'application/*', 'a/b;q=0.5', 'a/b;q=0.8');

test('order, spelling and repetition do not matter', () => {
  const spelling = fc.record({
    range,
    upper: fc.boolean(),
    space: fc.constantFrom('', ' ', '\t'),
    twice: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.shuffledSubarray([OCI_INDEX, OCI_MANIFEST, '*/*', 'a/b;q=0.5']),
      fc.array(spelling),
      (all, extra) => {
        const spelt = extra.filter((one) => all.includes(one.range));
        const texts = spelt.map((one) => `${one.space}${one.upper ? one.range.toUpperCase() : one.range}`);
        expect(acceptClass([...texts, ...all].join(', '))).toBe(acceptClass([...all].sort().join()));
      },
    ),
  );
});

test('whoever accepts something else is somebody else', () => {
  fc.assert(
    fc.property(fc.uniqueArray(range, { minLength: 1 }), fc.uniqueArray(range, { minLength: 1 }), (one, other) => {
      const isSame = one.length === other.length && one.every((each) => other.includes(each));
      expect(acceptClass(one.join()) === acceptClass(other.join())).toBe(isSame);
    }),
  );
});

test('no header stands for what is sent in its place', () => {
  expect(acceptClass('')).toBe(acceptClass(MANIFEST_ACCEPT));
  expect(acceptClass(' , ')).toBe(acceptClass(''));
  expect(acceptClass('x'.repeat(100_000)).length).toBeLessThanOrEqual(64);
});
