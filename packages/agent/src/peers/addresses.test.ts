import { expect, test } from 'vitest';
import { dialableAddresses } from './addresses.ts';

test('loopback and link-local addresses and the PeerId are left out', () => {
  expect(
    dialableAddresses([
      '/ip4/127.0.0.1/tcp/7301/p2p/12D3KooWx',
      '/ip4/10.0.0.5/tcp/7301/p2p/12D3KooWx',
      '/ip6/::1/tcp/7301',
      '/ip6/fe80::1/tcp/7301',
      '/ip6/2001:db8::5/tcp/7301',
    ]),
  ).toEqual(['/ip4/10.0.0.5/tcp/7301', '/ip6/2001:db8::5/tcp/7301']);
});

test('loopback is kept when there is nothing else', () => {
  expect(dialableAddresses(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'])).toEqual([
    '/ip4/127.0.0.1/tcp/1',
    '/ip6/::1/tcp/1',
  ]);
});

test('no more than the tracker takes', () => {
  const many = [...Array(40).keys()].map((n) => `/ip4/10.0.0.${n}/tcp/1`);
  expect(dialableAddresses(many)).toHaveLength(16);
});
