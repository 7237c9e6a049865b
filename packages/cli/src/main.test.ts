import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const TEST_TIMEOUT_MS = 30_000;
const main = fileURLToPath(new URL('main.ts', import.meta.url));

interface Ended {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the real command; `onReady` is called with the first line of stdout. */
function shoal(
  args: readonly string[],
  env: Record<string, string> = {},
  onReady?: (line: string, kill: (signal: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  const child = spawn(process.execPath, ['--conditions=source', main, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const ended: Ended = { exitCode: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const isFirst = !ended.stdout.includes('\n');
    ended.stdout += text;
    if (isFirst && ended.stdout.includes('\n')) onReady?.(ended.stdout, (signal) => void child.kill(signal));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ ...ended, exitCode }));
  });
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'shoal-main-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const quiet = ['--log-level', 'error'];
const freePorts = ['--mirror', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--peer-listen', '/ip4/127.0.0.1/tcp/0'];

test('bad YAML is one line with its place, and exit code 2', { timeout: TEST_TIMEOUT_MS }, async () => {
  const file = join(folder(), 'agent.yaml');
  writeFileSync(file, 'zone: a\njoin-token: @/etc/shoal/token\n');
  expect(await shoal(['agent', '--config', file])).toEqual({
    exitCode: 2,
    stdout: '',
    stderr: `shoal agent: ${file}:2:13: a value that starts with @, \` or % must be in quotes\n`,
  });
});

test('the environment of the process counts', { timeout: TEST_TIMEOUT_MS }, async () => {
  const { exitCode, stderr } = await shoal(['agent'], { SHOAL_CACHE_SIZE: 'much' });
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^shoal agent: SHOAL_CACHE_SIZE "much" is not a size; [^\n]+\n$/);
});

test('an agent starts, tells where it is, and ends with 0 on SIGTERM', { timeout: TEST_TIMEOUT_MS }, async () => {
  let ready: { event: string; mirror: string; admin: string } | undefined;
  const args = ['agent', ...freePorts, ...quiet, '--data', join(folder(), 'data')];
  const ended = await shoal(args, {}, (line, kill) => {
    ready = JSON.parse(line);
    kill('SIGTERM');
  });
  expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
  expect(ready).toMatchObject({ event: 'ready', mirror: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
});

test('a taken mirror port is one line that says which flag to change', { timeout: TEST_TIMEOUT_MS }, async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const args = ['agent', ...freePorts, ...quiet, '--mirror', `127.0.0.1:${port}`, '--data', join(folder(), 'data')];
  expect(await shoal(args)).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: `shoal agent: port ${port} on 127.0.0.1 is in use by another program. Stop it or choose another with --mirror HOST:PORT\n`,
  });
});

test('a data folder that cannot be made ends the start', { timeout: TEST_TIMEOUT_MS }, async () => {
  const file = join(folder(), 'file');
  writeFileSync(file, '');
  const { exitCode, stderr } = await shoal(['agent', ...freePorts, ...quiet, '--data', join(file, 'data')]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^shoal agent: the data folder \S+ is not a folder\. [^\n]+--data DIR\n$/);
});

test('a join token of another cluster is refused in one line', { timeout: TEST_TIMEOUT_MS }, async () => {
  const wrong = `shoal1.${Buffer.alloc(32).toString('base64url')}.${Buffer.alloc(32).toString('base64url')}`;
  const data = folder();
  let agent: Promise<Ended> | undefined;
  const tracker = shoal(
    ['tracker', '--listen', '127.0.0.1:0', ...quiet, '--data', join(data, 't')],
    {},
    (line, kill) => {
      const { url } = JSON.parse(line);
      const args = [
        'agent',
        ...freePorts,
        ...quiet,
        '--data',
        join(data, 'a'),
        '--tracker',
        url,
        '--join-token',
        wrong,
      ];
      agent = shoal(args).finally(() => kill('SIGTERM'));
    },
  );
  expect((await tracker).exitCode).toBe(0);
  const { exitCode, stderr } = (await agent) ?? expect.fail('the tracker was never ready');
  expect(exitCode).toBe(1);
  expect(stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^shoal agent: https:\S+ is not the tracker that made this join token\. /,
  );
  expect(stderr).not.toContain(wrong);
});
