import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { fakeIo } from '../fake-io.fixture.ts';
import { runCli } from '../run-cli.ts';
import { temporaryFile } from '../settings/settings-folder.fixture.ts';

async function serve(answer: boolean): Promise<{ address: string; asked: Promise<void> }> {
  let tell = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const server = createServer((_, response) => {
    tell();
    if (answer) response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const code = await runCli(['doctor', ...args], io);
  return { code, out: io.out(), err: io.err() };
}

test.each([
  [['--only', 'traker'], 'shoal doctor: --only "traker" is no check; did you mean tracker?\n'],
  [['--registry', 'a b'], 'shoal doctor: --registry "a b" is not a registry host; an example: ghcr.io\n'],
  [['--admin', 'nope'], 'shoal doctor: --admin "nope" is not an address; write it as HOST:PORT\n'],
])('%j is wrong usage', async (args, line) => {
  expect(await run(...args)).toEqual({ code: 2, out: '', err: line });
});

test('Ctrl-C ends it at once, with a line and nothing half told', async () => {
  const { address, asked } = await serve(false);
  const io = fakeIo();
  const ended = runCli(['doctor', '--admin', address], io);
  await asked;
  io.signal('SIGINT');
  expect(await ended).toBe(1);
  expect([io.out(), io.err()]).toEqual(['', 'shoal doctor: stopped before it was done\n']);
});

test('something else at the admin address is told as such, and the rest is checked without an agent', async () => {
  const { address } = await serve(true);
  const { code, out } = await run('--admin', address, '--only', 'agent,membership', '--json');
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    ok: false,
    agent: false,
    admin: address,
    checks: [
      { name: 'agent', state: 'fail', detail: expect.stringContaining('is no agent of this version') },
      { name: 'membership', state: 'skip' },
    ],
  });
});

test('settings that cannot be read are a finding, and what needs them is left out', async () => {
  const file = temporaryFile('agent.yaml', 'cache-sise: 1GiB\n');
  const { code, out } = await run('--config', file, '--admin', '127.0.0.1:1', '--only', 'settings,disk');
  expect(code).toBe(1);
  expect(out).toContain('did you mean cache-size?');
  expect(out).toMatch(/^- disk {6}the settings cannot be read, see above$/m);
});

test('a docker config that is none is found before the agent stumbles over it', async () => {
  const file = temporaryFile('config.json', '[]');
  const { code, out } = await run(
    '--docker-config',
    file,
    '--admin',
    '127.0.0.1:1',
    '--only',
    'settings,disk',
    '--json',
  );
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    checks: [{ state: 'fail', detail: expect.stringContaining('is no docker config') }, { name: 'disk' }],
  });
});

test('only what is asked for, and exit code 0 when nothing is wrong', async () => {
  const { code, out, err } = await run('--admin', '127.0.0.1:1', '--mirror', '127.0.0.1:0', '--only', 'settings');
  expect([code, err]).toEqual([0, '']);
  expect(out.split('\n')).toHaveLength(6);
});
