import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import { accepts, answering } from './answering.ts';
import { checkDataFolder } from './data-folder.ts';
import { findRegistry } from './registry-finding.ts';

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-check-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a folder that can be written to is left as it was', async () => {
  const path = await folder();
  const standing = await checkDataFolder(path);
  expect(standing).toMatchObject({ path, exists: true });
  expect(standing.problem).toBeUndefined();
  expect(standing.freeBytes).toBeGreaterThan(0);
  expect(standing.totalBytes).toBeGreaterThanOrEqual(standing.freeBytes);
  expect(await readdir(path)).toEqual([]);
});

test('one that is not there yet is judged by the folder above it, and not made', async () => {
  const path = await folder();
  expect(await checkDataFolder(join(path, 'a/b'))).toMatchObject({ exists: false, freeBytes: expect.any(Number) });
  expect(await readdir(path)).toEqual([]);
});

test('a file in its place, and what the system refuses, are told by their code', async () => {
  const file = join(await folder(), 'file');
  await writeFile(file, '');
  expect((await checkDataFolder(file)).problem).toBe('ENOTDIR');
  expect((await checkDataFolder('/proc/shoal')).problem).toMatch(/^E/);
});

test('addresses that take a connection are told from those that do not', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const { signal } = new AbortController();
  const [good, bad] = [`/ip4/127.0.0.1/tcp/${port}`, '/ip4/127.0.0.1/tcp/1'];
  expect(await answering([bad, good, '/memory/x', `/dns4/localhost/tcp/${port}`], signal)).toEqual([
    good,
    `/dns4/localhost/tcp/${port}`,
  ]);
  await new Promise((resolve) => server.close(resolve));
  expect(await accepts('127.0.0.1', port, signal)).toBe(false);
  expect(await accepts('127.0.0.1', port, AbortSignal.abort())).toBe(false);
});

test('a failure is told by its code and the innermost cause, and nothing else of it', async () => {
  const cause = Object.assign(new Error('password=hunter2'), { code: 'ENOTFOUND' });
  const origin = {
    check: async () => {
      throw new OriginError('unreachable', 'connection to r.test failed', {
        cause: new OriginError('unreachable', 'x', { cause }),
      });
    },
  };
  expect(await findRegistry(origin, 'r.test', new AbortController().signal)).toEqual({
    registry: 'r.test',
    outcome: 'unreachable',
    message: 'connection to r.test failed',
    cause: 'ENOTFOUND',
  });
});
