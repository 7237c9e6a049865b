import { expect, test } from 'vitest';
import { HandshakeLimits } from './handshake-limits.ts';

function limitsAt() {
  const clock = { ms: 0 };
  return { clock, limits: new HandshakeLimits(() => clock.ms) };
}

function begun(limits: HandshakeLimits, addresses: readonly string[]): number {
  return addresses.filter((address) => limits.begin(address) !== undefined).length;
}

const times = (count: number, of: (index: number) => string): string[] =>
  Array.from({ length: count }, (_, index) => of(index));

test('one address has a part of the places, and gets them back', () => {
  const { limits } = limitsAt();
  const ends = times(40, () => '10.0.0.1').map((address) => limits.begin(address));
  expect(ends.filter((end) => end !== undefined)).toHaveLength(32);
  expect(limits.begin('10.0.0.2')).toBeDefined();
  for (const end of ends) end?.();
  expect(
    begun(
      limits,
      times(40, () => '10.0.0.1'),
    ),
  ).toBe(32);
});

test.each([
  ['2001:db8:1:2::', (index: number) => `2001:db8:1:2::${index.toString(16)}`, 32],
  ['fe80::, with a zone', (index: number) => `fe80::${index.toString(16)}%eth0`, 32],
  ['2001:db8::, each in a /64 of its own', (index: number) => `2001:db8:0:${index.toString(16)}::1`, 100],
  ['::ffff:10.0.0.0, which is IPv4', (index: number) => `::ffff:10.0.0.${index}`, 100],
])('of a hundred addresses in %s', (_what, address, may) => {
  const { limits } = limitsAt();
  expect(begun(limits, times(100, address))).toBe(may);
});

test('all together are bounded', () => {
  const { limits } = limitsAt();
  expect(
    begun(
      limits,
      times(300, (index) => `10.0.1.${index}`),
    ),
  ).toBe(128);
});

test('one address may begin so many in a second, however soon they end', () => {
  const { limits, clock } = limitsAt();
  const tryMany = (): number =>
    times(1_000, () => '10.0.0.1').filter((address) => {
      const end = limits.begin(address);
      end?.();
      return end !== undefined;
    }).length;
  expect(tryMany()).toBe(256);
  clock.ms = 1_000;
  expect(tryMany()).toBe(20);
});
