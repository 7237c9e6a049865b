import { expect, test } from 'vitest';
import { parseHostPort } from './host-port.ts';

test.each([
  ['127.0.0.1:7300', { host: '127.0.0.1', port: 7300 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['node-7.example:65535', { host: 'node-7.example', port: 65_535 }],
])('%s is an address', (text, expected) => {
  expect(parseHostPort(text)).toEqual(expected);
});

test.each([
  '',
  '7300',
  ':7300',
  'localhost',
  '::1:7300',
  '[1:2]:7300',
  '999.1.1.1:1',
  'a:65536',
  'a:1/x',
  'a b:1',
  'http://a:1',
])('%j is no address', (text) => {
  expect(parseHostPort(text)).toBeUndefined();
});
