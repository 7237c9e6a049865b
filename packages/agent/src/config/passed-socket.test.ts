import { expect, test } from 'vitest';
import { checkPassedSocket, passedMirrorSocket } from './passed-socket.ts';

const ours = { LISTEN_PID: '42', LISTEN_FDS: '1' };

test.each([
  ['of this name', { ...ours, LISTEN_FDNAMES: 'mirror' }, 3],
  ['without names', ours, 3],
  ['for another process', { ...ours, LISTEN_PID: '43', LISTEN_FDNAMES: 'mirror' }, undefined],
  ['without a process', { LISTEN_FDS: '1' }, undefined],
  ['none', { ...ours, LISTEN_FDS: '0' }, undefined],
  ['nothing said', {}, undefined],
])('a socket %s: %o is %s', (_, env, fd) => {
  expect(passedMirrorSocket(env, 42)).toBe(fd);
});

test.each([
  [{ ...ours, LISTEN_FDS: '2' }, '2 sockets are handed over'],
  [{ ...ours, LISTEN_FDS: 'x' }, 'x sockets are handed over'],
  [{ ...ours, LISTEN_FDNAMES: 'admin' }, 'the socket that is handed over is named "admin"'],
])('%o is refused', (env, message) => {
  expect(() => passedMirrorSocket(env, 42)).toThrow(
    expect.objectContaining({ code: 'wrong-usage', message, hint: expect.stringContaining('shoal-agent.socket') }),
  );
});

test.each([
  ['127.0.0.1:7300', '127.0.0.1', 7300],
  ['127.0.0.1:7300', '127.0.0.1', 0],
  ['127.0.0.1:7300', 'localhost', 7300],
  ['[::1]:7300', '0:0:0:0:0:0:0:1', 7300],
])('%s is %s, port %i', async (bound, host, port) => {
  await expect(checkPassedSocket(bound, { host, port })).resolves.toBeUndefined();
});

test.each([
  ['127.0.0.1:7400', '127.0.0.1', 7300, '127.0.0.1:7300'],
  // One of them is open to others.
  ['0.0.0.0:7300', '127.0.0.1', 7300, '127.0.0.1:7300'],
  ['[::1]:7300', '127.0.0.1', 7300, '127.0.0.1:7300'],
  ['127.0.0.1:7300', '::1', 7300, '[::1]:7300'],
  ['127.0.0.1:7300', 'no.such.host.invalid', 7300, 'no.such.host.invalid:7300'],
])('%s is not %s, port %i', async (bound, host, port, shown) => {
  await expect(checkPassedSocket(bound, { host, port })).rejects.toMatchObject({
    exitCode: 2,
    message: `the socket that is handed over is at ${bound}, and the mirror set to ${shown}`,
  });
});
