import { expect, test } from 'vitest';
import { clockSkew, StartError, type StartStep, startErrorFrom, wrongJoinToken } from './start-error.ts';

const mirror: StartStep = { kind: 'listen', flag: '--mirror', address: { host: '127.0.0.1', port: 7300 } };
const data: StartStep = { kind: 'data', flag: '--data', path: '/srv/shoal' };

function failure(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

test.each([
  ['EADDRINUSE', mirror, 'port-in-use', 'port 7300 on 127.0.0.1 is in use by another program'],
  ['EADDRNOTAVAIL', mirror, 'address-unavailable', 'this machine has no address 127.0.0.1:7300'],
  ['EACCES', mirror, 'port-forbidden', 'this user may not listen on 127.0.0.1:7300'],
  ['EACCES', data, 'data-unwritable', 'the data folder /srv/shoal may not be written by this user'],
  ['EROFS', data, 'data-unwritable', 'the data folder /srv/shoal is on a read-only file system'],
  ['ENOTDIR', data, 'data-unwritable', 'the data folder /srv/shoal is not a folder'],
  ['ENOSPC', data, 'disk-full', 'no space is left for the data folder /srv/shoal'],
  ['LEVEL_LOCKED', data, 'data-locked', 'the data folder /srv/shoal is in use by another shoal process'],
  ['EMFILE', data, 'too-many-files', 'the limit on open files is too low'],
] as const)('%s is put in words with the flag to change', (code, step, expected, message) => {
  const error = startErrorFrom(failure(code), step);
  expect(error).toMatchObject({ code: expected, message, exitCode: 1 });
  if (expected !== 'too-many-files') expect(error.hint).toContain(step.flag);
});

test('the reason is found below the errors that wrap it', () => {
  const wrapped = new Error('cannot open the index', { cause: failure('LEVEL_DATABASE_NOT_OPEN') });
  (wrapped.cause as Error).cause = failure('LEVEL_LOCKED');
  expect(startErrorFrom(wrapped, data).code).toBe('data-locked');
});

test('words stand in where a library gives no code', () => {
  expect(startErrorFrom(new Error('IO error: LOCK: Permission denied'), data).code).toBe('data-unwritable');
  const peers: StartStep = { kind: 'listen', flag: '--peer-listen', address: '/ip4/1.2.3.4/tcp/1' };
  expect(startErrorFrom(new Error('listen EADDRINUSE: address already in use'), peers)).toMatchObject({
    code: 'port-in-use',
    hint: 'Stop it or choose another with --peer-listen MULTIADDR',
  });
});

test('of several addresses it is said that one is at fault', () => {
  const peers: StartStep = { kind: 'listen', flag: '--peer-listen', address: '/ip4/1.2.3.4/tcp/1, /ip4/1.2.3.4/tcp/2' };
  expect(startErrorFrom(failure('EADDRINUSE'), peers).message).toBe(
    'one of /ip4/1.2.3.4/tcp/1, /ip4/1.2.3.4/tcp/2 is in use by another program',
  );
  expect(startErrorFrom(failure('EADDRNOTAVAIL'), peers).message).toBe(
    'one of /ip4/1.2.3.4/tcp/1, /ip4/1.2.3.4/tcp/2 is no address of this machine',
  );
});

test('a StartError passes through, also when wrapped', () => {
  const error = wrongJoinToken('https://a:1');
  expect(startErrorFrom(new Error('x', { cause: error }), data)).toBe(error);
});

test('an unknown failure stays one line', () => {
  const error = startErrorFrom(new Error('first\nsecond'), data);
  expect(error).toBeInstanceOf(StartError);
  expect(error.message).toBe('cannot use /srv/shoal: first second');
});

test('a cycle of causes ends', () => {
  const error: Error = new Error('round');
  error.cause = error;
  expect(startErrorFrom(error, data).code).toBe('failed');
});

test('the clock is told by how much, which way and how to set it', () => {
  expect(clockSkew('https://a:1', -3_600_000).message).toContain("this machine's clock is 3600 s behind");
  expect(clockSkew('https://a:1', 90_000).message).toContain('90 s ahead of');
  expect(clockSkew('https://a:1', 90_000).hint).toContain('timedatectl set-ntp true');
});

test('only wrong usage exits with 2', () => {
  expect(new StartError('wrong-usage', 'a', 'b').exitCode).toBe(2);
  expect(new StartError('disk-full', 'a', 'b').exitCode).toBe(1);
});
