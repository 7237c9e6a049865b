import { expect, test } from 'vitest';
import { hostAndPort, isOwnName, reachableHost, urlOf } from './addresses.ts';

test.each([
  ['127.0.0.1', '127.0.0.1:7303'],
  ['0.0.0.0', '127.0.0.1:7303'],
  ['::', '[::1]:7303'],
  ['fd00::5', '[fd00::5]:7303'],
  ['node-1', 'node-1:7303'],
])('what listens on %s is reached at %s', (host, reached) => {
  expect(hostAndPort(reachableHost(host), 7303)).toBe(reached);
});

test('a server’s URL has the port that it got', () => {
  expect(urlOf('https', '::', { address: '::', family: 'IPv6', port: 41 })).toBe('https://[::1]:41');
  expect(urlOf('http', 'localhost', null)).toBe('http://localhost:0');
});

test.each([
  ['127.0.0.1', true],
  ['[::1]', true],
  ['localhost', true],
  ['node-1', true],
  ['rebound.example', false],
  ['127.0.0.1.example', false],
])('%s as the name of this machine: %s', (host, own) => {
  expect(isOwnName(host)).toBe(own);
});
