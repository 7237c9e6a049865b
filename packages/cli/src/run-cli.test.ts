import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentConfig, agentConfigSchema, passedMirrorSocket, StartError, startErrorFrom } from '@shoal/agent';
import { TrackerStartError, trackerConfigSchema } from '@shoal/tracker';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fakeIo } from './fake-io.fixture.ts';
import type { Programs } from './run/programs.ts';
import { runCli } from './run-cli.ts';
import { agentSettings } from './settings/agent-settings.ts';
import { variableOf } from './settings/setting.ts';
import { trackerSettings } from './settings/tracker-settings.ts';

interface Fakes {
  startAgent?: (config: AgentConfig) => Promise<unknown>;
  startTracker?: () => Promise<unknown>;
}

const runningAgent = {
  mirrorUrl: 'http://127.0.0.1:7300',
  adminUrl: 'http://127.0.0.1:7303',
  peerId: '12D3',
  peerAddresses: ['/ip4/127.0.0.1/tcp/7301'],
  stop: async () => undefined,
};

function programs({ startAgent, startTracker }: Fakes): Programs {
  const agent = {
    agentConfigSchema,
    passedMirrorSocket,
    StartError,
    startErrorFrom,
    startAgent: startAgent ?? (async () => runningAgent),
  };
  const tracker = { trackerConfigSchema, TrackerStartError, startTracker };
  return { agent: async () => agent, tracker: async () => tracker } as unknown as Programs;
}

function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-cli-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('wrong usage is one line on stderr and exit code 2', () => {
  test.each([
    [['agnt'], "shoal: unknown command 'agnt'. Did you mean agent? See shoal --help\n"],
    [
      ['agent', '--mirro', 'x'],
      "shoal agent: unknown option '--mirro'. Did you mean --mirror? See shoal agent --help\n",
    ],
    [['agent', '--mirror'], "shoal agent: option '--mirror <HOST:PORT>' argument missing. See shoal agent --help\n"],
    [
      ['agent', '--join-tokn=hunter2'],
      "shoal agent: unknown option '--join-tokn'. Did you mean --join-token? See shoal agent --help\n",
    ],
    [['agent', '--banana', 'x'], "shoal agent: unknown option '--banana'. See shoal agent --help\n"],
    [['help', 'agnt'], "shoal: unknown command 'agnt'. Did you mean agent? See shoal --help\n"],
    [['shoal1.hunter2.hunter2'], "shoal: unknown command 'shoal1.…'. See shoal --help\n"],
    [
      ['agent', 'hunter2'],
      'shoal agent: only flags are expected, as --NAME VALUE, but there is more. See shoal agent --help\n',
    ],
    [
      ['tracker', '--listen', 'x'],
      'shoal tracker: --listen "x" is not an address; write it as HOST:PORT, e.g. 127.0.0.1:7300 or [::1]:7300\n',
    ],
  ])('%j', async (args, line) => {
    const io = fakeIo();
    expect(await runCli(args, io, programs({}))).toBe(2);
    expect(io.err()).toBe(line);
    expect(io.out()).toBe('');
  });
});

test('without a command, help is shown and the exit code says that nothing was done', async () => {
  const io = fakeIo();
  expect(await runCli([], io, programs({}))).toBe(2);
  expect(io.err()).toContain('shoal demo');
});

test.each([
  ['agent', agentSettings],
  ['tracker', trackerSettings],
] as const)(
  'the help of %s explains every setting, its variable and its default, within 120 columns',
  async (name, settings) => {
    for (const args of [
      [name, '--help'],
      ['help', name],
    ]) {
      const help = fakeIo();
      expect(await runCli(args, help, programs({}))).toBe(0);
      const text = help.out().replaceAll(/\s+/g, ' ');
      for (const { key, placeholder, defaultText } of settings) {
        expect(text).toContain(`--${key} <${placeholder}>`);
        expect(text).toContain(`[${variableOf(key)}]`);
        if (defaultText !== undefined) expect(text).toContain(`(default ${defaultText})`);
      }
      expect(
        Math.max(
          ...help
            .out()
            .split('\n')
            .map((line) => line.length),
        ),
      ).toBeLessThanOrEqual(120);
      expect(help.err()).toBe('');
    }
  },
);

test('the configuration that the help of the agent shows is one', async () => {
  const help = fakeIo();
  await runCli(['agent', '--help'], help, programs({}));
  const yaml = help.out().split(/agent\.yaml\n/)[1] ?? expect.fail('no example');
  const file = join(dataFolder(), 'agent.yaml');
  const token = `shoal1.${Buffer.alloc(32, 1).toString('base64url')}.${Buffer.alloc(32, 2).toString('base64url')}`;
  writeFileSync(`${file}.secret`, token);
  writeFileSync(file, yaml.replaceAll(/^ {6}/gm, '').replaceAll(/\/etc\/shoal\/[\w-]+/g, `${file}.secret`));
  const io = fakeIo();
  let config: AgentConfig | undefined;
  const startAgent = async (given: AgentConfig): Promise<unknown> => {
    config = given;
    return runningAgent;
  };
  const running = runCli(['agent', '--data', dataFolder(), '--config', file], io, programs({ startAgent }));
  await Promise.race([io.printed('\n'), running]);
  io.signal('SIGTERM');
  expect([await running, io.err()]).toEqual([0, '']);
  expect(config).toMatchObject({ trackers: ['https://10.0.0.5:7302'], registries: { 'ghcr.io': { username: 'me' } } });
});

test('a join token without a tracker is warned about', async () => {
  const io = fakeIo({ SHOAL_JOIN_TOKEN: `shoal1.${'A'.repeat(43)}.${'A'.repeat(43)}` });
  const running = runCli(['agent', '--data', dataFolder()], io, programs({}));
  await Promise.race([io.printed('\n'), running]);
  io.signal('SIGTERM');
  expect(await running).toBe(0);
  expect(JSON.parse(io.err())).toMatchObject({
    level: 40,
    msg: expect.stringContaining('name the tracker with --tracker'),
  });
});

test('a defect is told as one, with where it happened', async () => {
  const io = fakeIo();
  const broken = { agent: () => Promise.reject(new TypeError('oops')) } as unknown as Programs;
  expect(await runCli(['agent'], io, broken)).toBe(1);
  expect(io.err()).toMatch(/^shoal agent: this should not have happened; please report it: TypeError: oops\n {4}at /);
});

test('the version goes to stdout with exit code 0', async () => {
  const version = fakeIo();
  expect(await runCli(['--version'], version, programs({}))).toBe(0);
  expect(version.out()).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('an agent prints one JSON line when it is ready, and ends with 0 on a signal', async () => {
  const io = fakeIo();
  const running = runCli(['agent', '--data', dataFolder()], io, programs({}));
  await io.printed('\n');
  expect(JSON.parse(io.out())).toEqual({
    event: 'ready',
    mirror: 'http://127.0.0.1:7300',
    admin: 'http://127.0.0.1:7303',
    peers: ['/ip4/127.0.0.1/tcp/7301'],
    peerId: '12D3',
  });
  io.signal('SIGTERM');
  expect(await running).toBe(0);
  expect(io.err()).toBe('');
});

test('a person at a terminal is told where the mirror is', async () => {
  const io = fakeIo({}, { isTTY: true });
  const running = runCli(['agent', '--data', dataFolder()], io, programs({}));
  await io.printed('peer id');
  expect(io.out()).toContain('docker pull 127.0.0.1:7300/docker.io/library/alpine');
  io.signal('SIGINT');
  await running;
});

test.each([
  [new StartError('disk-full', 'no space is left', 'Free some'), 1, 'shoal agent: no space is left. Free some\n'],
  [new StartError('wrong-usage', 'that is wrong', 'Do this'), 2, 'shoal agent: that is wrong. Do this\n'],
  [new Error('a\nb'), 1, 'shoal agent: could not start: a b. Run it again with --log-level debug for details\n'],
])('%s ends an agent with its own line and exit code', async (error, exitCode, line) => {
  const io = fakeIo();
  const startAgent = (): Promise<never> => Promise.reject(error);
  expect(await runCli(['agent', '--data', dataFolder()], io, programs({ startAgent }))).toBe(exitCode);
  expect(io.err()).toBe(line);
});

test('a tracker that is not at a terminal tells where its tokens are, and neither of them', async () => {
  const data = dataFolder();
  const dashboard = { url: 'http://127.0.0.1:7304', tokenFile: join(data, 'dashboard-token'), token: 'x', isNew: true };
  const startTracker = async (): Promise<unknown> => ({
    ...{ url: 'https://127.0.0.1:7302', joinToken: 'shoal1.a.b', dashboard },
    close: async () => undefined,
  });
  const io = fakeIo();
  const running = runCli(['tracker', '--data', data], io, programs({ startTracker }));
  await io.printed('\n');
  io.signal('SIGTERM');
  expect(await running).toBe(0);
  expect(JSON.parse(io.out())).toEqual({
    event: 'ready',
    url: 'https://127.0.0.1:7302',
    joinTokenFile: join(data, 'join-token'),
    dashboard: dashboard.url,
    dashboardTokenFile: dashboard.tokenFile,
  });
});

test.each([
  [
    'a locked folder',
    new TrackerStartError('STATE_LOCKED', 'x is in use', {
      cause: Object.assign(new Error('x'), { code: 'LEVEL_LOCKED' }),
    }),
    / is in use by another shoal process\. Stop that one or choose another folder with --data DIR\n$/,
  ],
  [
    'a folder that may not be written',
    new TrackerStartError('STATE_DAMAGED', 'x', { cause: new Error('IO error: /x/LOCK: Permission denied') }),
    / may not be written by this user\. Make it a folder that this user owns, or choose another with --data DIR\n$/,
  ],
  [
    'a damaged state',
    new TrackerStartError('STATE_DAMAGED', 'x/state cannot be opened. Remove it', {
      cause: Object.assign(new Error('x'), { code: 'LEVEL_CORRUPTION' }),
    }),
    /^shoal tracker: x\/state cannot be opened\. Remove it\n$/,
  ],
  ['a damaged key', new TrackerStartError('IDENTITY_DAMAGED', 'x is damaged'), /^shoal tracker: x is damaged\n$/],
])('%s ends a tracker with one line that says what to do', async (_name, error, line) => {
  const io = fakeIo();
  const startTracker = (): Promise<never> => Promise.reject(error);
  expect(await runCli(['tracker', '--data', dataFolder()], io, programs({ startTracker }))).toBe(1);
  expect(io.err()).toMatch(line);
});

test('a person at a terminal is told how the agents join, and the token only when it is new', async () => {
  const data = dataFolder();
  const joinTokenFile = join(data, 'join-token');
  const startTracker = async (): Promise<unknown> => {
    writeFileSync(joinTokenFile, 'shoal1.a.b\n');
    return { url: 'https://10.0.0.5:7302', joinToken: 'shoal1.a.b', close: async () => undefined };
  };
  const told = async (): Promise<string> => {
    const io = fakeIo({}, { isTTY: true });
    const running = runCli(['tracker', '--data', data, '--listen', '10.0.0.5:7302'], io, programs({ startTracker }));
    await Promise.race([io.printed('shoal agent'), running]);
    io.signal('SIGINT');
    expect(await running).toBe(0);
    return io.out();
  };
  expect(await told()).toContain('  shoal agent --tracker https://10.0.0.5:7302 --join-token shoal1.a.b\n');
  const later = await told();
  expect(later).toContain(`  shoal agent --tracker https://10.0.0.5:7302 --join-token @${joinTokenFile}\n`);
  expect(later).not.toContain('shoal1.a.b');
});

test('a tracker whose port is taken says which flag to change', async () => {
  const io = fakeIo();
  const startTracker = (): Promise<never> =>
    Promise.reject(Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE', syscall: 'listen' }));
  const args = ['tracker', '--data', dataFolder(), '--listen', '127.0.0.1:7302'];
  expect(await runCli(args, io, programs({ startTracker }))).toBe(1);
  expect(io.err()).toBe(
    'shoal tracker: port 7302 on 127.0.0.1 is in use by another program. Stop it or choose another with --listen HOST:PORT\n',
  );
});
