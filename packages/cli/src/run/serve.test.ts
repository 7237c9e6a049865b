import { expect, test, vi } from 'vitest';
import { fakeIo } from '../fake-io.fixture.ts';
import { serveUntilSignal } from './serve.ts';

const options = { program: 'shoal test', graceMs: () => 50 };
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('runs until the first signal, then stops', async () => {
  const io = fakeIo();
  const stop = vi.fn(async () => undefined);
  const serving = serveUntilSignal(options, io, async () => ({ stop }));
  await tick();
  expect(stop).not.toHaveBeenCalled();
  io.signal('SIGTERM');
  await serving;
  expect(stop).toHaveBeenCalledOnce();
  expect(io.exits).toEqual([]);
});

test('a second signal ends the process at once', async () => {
  const io = fakeIo();
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const serving = serveUntilSignal(options, io, async () => ({ stop: () => stopped }));
  await tick();
  io.signal('SIGINT');
  await tick();
  io.signal('SIGINT');
  expect(io.exits).toEqual([130]);
  resolve();
  await serving;
});

test('stopping that takes too long is cut off with a complaint', async () => {
  const io = fakeIo();
  const serving = serveUntilSignal(options, io, async () => ({ stop: () => new Promise<void>(() => undefined) }));
  await tick();
  io.signal('SIGTERM');
  await expect(serving).rejects.toMatchObject({
    exitCode: 1,
    lines: ['shoal test: stopping took longer than 0.05 s and was cut off'],
  });
});

test('settings are read again at each SIGHUP, also at one that came during the start', async () => {
  const io = fakeIo();
  const reload = vi.fn();
  const { promise: started, resolve } = Promise.withResolvers<void>();
  const serving = serveUntilSignal(options, io, async () => {
    await started;
    return { stop: async () => undefined, reload };
  });
  io.reload();
  expect(reload).not.toHaveBeenCalled();
  resolve();
  await tick();
  expect(reload).toHaveBeenCalledOnce();
  io.reload();
  expect(reload).toHaveBeenCalledTimes(2);
  io.signal('SIGTERM');
  await serving;
});

test('a signal during the start does not wait for it', async () => {
  const io = fakeIo();
  const serving = serveUntilSignal(options, io, () => new Promise(() => undefined));
  io.signal('SIGTERM');
  await serving;
});

test('what stops a start is passed on, and nobody listens for signals any more', async () => {
  const io = fakeIo();
  const failing = serveUntilSignal(options, io, async () => {
    throw new Error('no start');
  });
  await expect(failing).rejects.toThrow('no start');
  io.signal('SIGINT');
  io.signal('SIGINT');
  expect(io.exits).toEqual([]);
});
