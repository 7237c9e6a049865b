import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { fakeIo } from './fake-io.fixture.ts';
import { runCli } from './run-cli.ts';

/** Something at an admin address; gives `HOST:PORT`. */
async function answering(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const code = await runCli(['forget', ...args], io);
  return { code, out: io.out(), err: io.err() };
}

test('the agent is told the image, and what it forgot is printed', async () => {
  const told: string[] = [];
  const admin = await answering((request, response) => {
    request.on('data', (chunk) =>
      told.push(`${request.method} ${request.url} ${request.headers['content-type']} ${chunk}`),
    );
    request.on('end', () => response.end('{"forgotten":"docker.io/library/alpine:latest"}'));
  });
  const { code, out } = await run('alpine', '--admin', admin);
  expect([code, out]).toEqual([0, 'Forgotten: docker.io/library/alpine:latest. The next pull asks the registry.\n']);
  expect(told).toEqual(['POST /v1/forget application/json {"image":"alpine"}']);
  expect((await run('alpine', '--admin', admin, '--json')).out).toBe(
    '{"forgotten":"docker.io/library/alpine:latest"}\n',
  );
});

test('what is no agent is told from none', async () => {
  const other = await answering((_, response) => response.writeHead(404).end('<html>'));
  expect(await run('alpine', '--admin', other)).toEqual({
    code: 1,
    out: '',
    err: `shoal forget: what answers at ${other} (status 404) is no agent that can forget; check --admin\n`,
  });
  const nobody = await run('alpine', '--admin', '127.0.0.1:1');
  expect([nobody.code, nobody.err]).toEqual([
    1,
    'shoal forget: no agent answers at 127.0.0.1:1; start one, or give the admin address of the one that runs with --admin\n',
  ]);
});

test.each([
  [['A:b'], '"A:b" is not an image with a tag; an example: ghcr.io/org/app:v1'],
  [[`a@sha256:${'a'.repeat(64)}`], 'is not an image with a tag; an example: ghcr.io/org/app:v1'],
  [['alpine', '--admin', 'x'], '--admin "x" is not an address; write it as HOST:PORT'],
  [['alpine', 'busybox'], 'one IMAGE and flags are expected'],
  [[], "missing required argument 'IMAGE'"],
])('wrong usage: %j', async (args, said) => {
  const { code, err } = await run(...args);
  expect(code).toBe(2);
  expect(err).toContain(said);
});
