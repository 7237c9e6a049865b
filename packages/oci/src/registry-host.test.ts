import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRegistryHost, normaliseRegistryHost } from './registry-host.ts';

test.each([
  ['index.docker.io', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['registry.docker.io', 'docker.io'],
  ['docker.io', 'docker.io'],
  ['GHCR.io', 'ghcr.io'],
  ['a.example:8443', 'a.example:8443'],
  ['localhost:5000', 'localhost:5000'],
  ['[::1]:5000', '[::1]:5000'],
  ['[2001:DB8:0::1]', '[2001:db8::1]'],
  ['127.1:5000', '127.0.0.1:5000'],
  ['0x7f000001', '127.0.0.1'],
  ['2130706433:80', '127.0.0.1:80'],
])('writes %s as %s', (text, host) => {
  expect(normaliseRegistryHost(text)).toBe(host);
});

test.each([
  '',
  '.',
  'a..b',
  'ghcr.io.',
  '-a.io',
  'a_b.io',
  'host:',
  'host:0',
  'host:65536',
  'host:05',
  'h:5:5',
  '::1',
  '[::1',
  '[::1]5',
  '[::1%25lo]',
  '[zz]',
  '1.2.3.4.5',
  'a/b',
  'user@host',
  'a b',
  `${'a.'.repeat(130)}io`,
])('refuses %j', (text) => {
  expect(normaliseRegistryHost(text)).toBeUndefined();
});

test('normalising twice is normalising once', () => {
  const hostLike = fc.string({ unit: fc.constantFrom(...'aZ09.-:[]_x'), maxLength: 24 });
  fc.assert(
    fc.property(
      fc.oneof(
        hostLike,
        fc.domain(),
        fc.ipV6().map((address) => `[${address}]:5000`),
        fc.ipV4(),
      ),
      (text) => {
        const once = normaliseRegistryHost(text);
        if (once !== undefined) expect(normaliseRegistryHost(once)).toBe(once);
      },
    ),
  );
});

test('tells hosts from repository components', () => {
  expect(['ghcr.io', 'h:5000', 'localhost', '[::1]:5'].map(isRegistryHost)).toEqual([true, true, true, true]);
  expect(['library', 'org'].map(isRegistryHost)).toEqual([false, false]);
});
