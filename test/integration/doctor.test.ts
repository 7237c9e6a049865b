/** `shoal doctor` of real agents and a real tracker: what is broken is what fails, and it says what to do. */
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, startCluster } from '@shoal/cli';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Finding } from '../../packages/cli/src/doctor/finding.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt, run } from '../support/daemon/process.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { agentOnFreePorts, presentMain, runShoal, runShoalWith, startBuild } from '../support/run-shoal.ts';
import { describeWith } from './requirement.ts';

const REGISTRY = 'registry.test';
const MiB = 2 ** 20;
/** All but what the machine that tests has of container runtimes. */
const OURS = 'agent,settings,ports,mirror,tracker,clock,membership,peers,disk,origin';

interface Told {
  code: number;
  agent: boolean;
  checks: Finding[];
  /** By name. */
  state(name: string): string | undefined;
  todo(name: string): string;
}

async function told(env: Readonly<Record<string, string>>, ...args: string[]): Promise<Told> {
  const { code, stdout, stderr } = await runShoalWith(env, 'doctor', '--json', ...args);
  expect(stderr).toBe('');
  const { agent, checks, ok } = JSON.parse(stdout) as { ok: boolean; agent: boolean; checks: Finding[] };
  expect(ok).toBe(code === 0);
  const find = (name: string) => checks.find((check) => check.name === name);
  for (const { state, todo } of checks) expect(todo !== undefined).toBe(state === 'warn' || state === 'fail');
  return {
    code: code ?? -1,
    agent,
    checks,
    state: (name) => find(name)?.state,
    todo: (name) => find(name)?.todo ?? '',
  };
}

const failing = ({ checks }: Told): string[] => checks.filter(({ state }) => state === 'fail').map(({ name }) => name);

const resources = new AsyncDisposableStack();
afterAll(() => resources.disposeAsync());

describe('a cluster of two', () => {
  let cluster: Cluster;
  let origin: FaultOrigin;
  let folder: DaemonFolder;
  const adminOf = (node: number): string => new URL(cluster.agents[node]!.adminUrl).host;
  const doctor = (node: number, only = OURS): Promise<Told> => told({}, '--admin', adminOf(node), '--only', only);

  /** The settings that an agent of the cluster would have, none of them running. */
  async function withoutAgent(token: string): Promise<string[]> {
    const file = folder.join(`token-${Math.random()}`);
    await writeFile(file, token);
    const ports = ['--mirror', '127.0.0.1:0', '--admin', '127.0.0.1:1', '--peer-listen', '/ip4/127.0.0.1/tcp/0'];
    return [...ports, '--data', folder.path, '--tracker', cluster.tracker!.url, '--join-token', `@${file}`];
  }

  beforeAll(async () => {
    folder = resources.use(await DaemonFolder.create('doctor'));
    origin = resources.use(await FaultOrigin.start());
    cluster = await startCluster({
      nodes: 2,
      folder: folder.path,
      registries: { [REGISTRY]: origin.url },
      agentArguments: () => ['--cache-size', '64MiB', '--min-free-disk', '16MiB'],
    });
    resources.defer(() => cluster.stop());
  });

  test('healthy: nothing is wrong, and each was dialled back by the other', async () => {
    let both = [await doctor(0), await doctor(1)];
    // They meet through the tracker, at the latest with the next announcement.
    for (
      let tries = 0;
      tries < 15 && both.some(({ state }) => state('membership') !== 'ok' || state('peers') === 'skip');
      tries++
    ) {
      await sleep(1_000);
      both = [await doctor(0), await doctor(1)];
    }
    for (const { code, agent, checks } of both) {
      expect([code, agent]).toEqual([0, true]);
      const others = checks.filter(({ name }) => name !== 'peers');
      expect(others.map(({ name, state }) => `${name} ${state}`)).toEqual([
        ...['agent', 'settings', 'ports', 'mirror', 'tracker', 'clock', 'membership', 'disk'].map(
          (name) => `${name} ok`,
        ),
        `origin ${REGISTRY} ok`,
      ]);
    }
    for (const [node, { checks }] of both.entries()) {
      const [own, other] = [cluster.agents[node]!, cluster.agents[1 - node]!];
      expect(checks.find(({ name }) => name === 'peers')).toMatchObject({
        state: 'ok',
        detail: expect.stringContaining(`both ways work: ${own.peerAddresses[0]} answered ${other.peerId}`),
      });
    }
  });

  test('an agent that others cannot dial at what it announces: it is said who tried, and what to do', async () => {
    const [folderOfIts, closed] = [await DaemonFolder.create('unreachable'), '/ip4/127.0.0.2/tcp/9'];
    resources.use(folderOfIts);
    const settings = ['--peer-announce', closed, '--tracker', cluster.tracker!.url];
    const token = [
      '--join-token',
      `@${cluster.tracker!.joinTokenFile}`,
      '--cache-size',
      '64MiB',
      '--min-free-disk',
      '16MiB',
    ];
    const agent = await startBuild(presentMain, agentOnFreePorts(folderOfIts.path, ...settings, ...token));
    await using _ = agent.process;
    const only = ['--admin', new URL(agent.ready.admin!).host, '--only', 'peers'];
    let finding = await told({}, ...only);
    for (let tries = 0; tries < 15 && !/did not answer/.test(finding.checks[0]!.detail); tries++) {
      await sleep(1_000);
      finding = await told({}, ...only);
    }
    expect(finding.checks[0]).toMatchObject({
      state: 'fail',
      detail: expect.stringMatching(
        /others cannot dial this agent: \/ip4\/127\.0\.0\.2\/tcp\/9 did not answer 12D3KooW/,
      ),
      todo: expect.stringContaining('open TCP 9 to the other nodes'),
    });
  });

  test('a person reads it', async () => {
    const { code, stdout } = await runShoal('doctor', '--admin', adminOf(0), '--only', 'agent,tracker');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^The agent at 127\.0\.0\.1:\d+:\n\n✓ agent {4}Shoal \d.*\n✓ tracker {2}https:.* answers and takes the join token\n\n2 ok\n$/,
    );
  });

  test('without an agent: the join token is tried, and one of another cluster or another tracker is found out', async () => {
    const token = await cluster.tracker!.joinToken();
    const [version, pin = '', secret = ''] = token.trim().split('.');
    const flipped = (text: string): string => (text.startsWith('A') ? 'B' : 'A') + text.slice(1);
    const only = ['--only', 'settings,ports,tracker,clock,disk'];
    const right = await told({}, ...(await withoutAgent(token)), ...only);
    expect([failing(right), right.agent, right.state('clock')]).toEqual([[], false, 'ok']);
    const wrongSecret = await told({}, ...(await withoutAgent([version, pin, flipped(secret)].join('.'))), ...only);
    expect(failing(wrongSecret)).toEqual(['tracker']);
    expect(wrongSecret.todo('tracker')).toContain('join-token');
    const wrongPin = await told({}, ...(await withoutAgent([version, flipped(pin), secret].join('.'))), ...only);
    expect(failing(wrongPin)).toEqual(['tracker']);
    expect(wrongPin.todo('tracker')).toContain('check tracker:');
  });

  test.each([
    [10 * 60_000, 'fail', ['tracker', 'clock']],
    [-60_000, 'warn', []],
  ])('a clock that is %i ms ahead of the tracker: %s', async (aheadMs, state, failures) => {
    const shift = folder.join(`clock${aheadMs}.mjs`);
    await writeFile(shift, `const now = Date.now; Date.now = () => now() + ${aheadMs};\n`);
    const args = await withoutAgent(await cluster.tracker!.joinToken());
    const found = await told({ NODE_OPTIONS: `--import=${shift}` }, ...args, '--only', 'tracker,clock');
    expect([found.state('clock'), failing(found)]).toEqual([state, failures]);
    expect(found.todo('clock')).toContain('timedatectl');
  });

  test('a registry that is down fails, by the agent that would pull from it', async () => {
    await origin.down();
    try {
      const found = await doctor(0);
      expect(failing(found)).toEqual([`origin ${REGISTRY}`]);
      expect(found.todo(`origin ${REGISTRY}`)).toContain(`curl -i ${origin.url}/v2/`);
    } finally {
      await origin.up();
    }
  });

  test('a tracker that is gone fails, and the membership is still told', async () => {
    await cluster.tracker!.kill('SIGKILL');
    const found = await doctor(0);
    expect(failing(found)).toEqual(['tracker']);
    expect(found.todo('tracker')).toContain('systemctl status shoal-tracker');
    expect(found.state('clock')).toBe('skip');
  });

  test('an agent that is gone, whose port somebody took: both are told, with who it is', async () => {
    const mirror = new URL(cluster.agents[1]!.mirrorUrl);
    await cluster.agents[1]!.kill('SIGKILL');
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(Number(mirror.port), '127.0.0.1', resolve));
    const args = ['--admin', adminOf(1), '--mirror', mirror.host, '--peer-listen', '/ip4/127.0.0.1/tcp/0'];
    try {
      const found = await told({}, ...args, '--only', 'agent,ports');
      expect([failing(found), found.agent]).toEqual([['agent', 'ports'], false]);
      expect(found.todo('ports')).toContain(process.platform === 'linux' ? `(pid ${process.pid})` : 'ss -ltnp');
    } finally {
      await new Promise((resolve) => squatter.close(resolve));
    }
  });
});

describeWith('root', 'a disk of its own', () => {
  test('full fails, read-only fails, each with its own advice', async () => {
    const folder = resources.use(await DaemonFolder.create('doctor-disk'));
    const mount = folder.join('disk');
    await mkdir(mount);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${24 * MiB}`, 'tmpfs', mount]);
    const settings = ['--cache-size', '16MiB', '--min-free-disk', '1MiB'];
    await using cluster = await startOn(mount, folder.path, settings);
    const doctor = (): Promise<Told> => told({}, '--admin', cluster.admin, '--only', 'disk');
    expect((await doctor()).state('disk')).toBe('ok');

    await attempt('dd', ['if=/dev/zero', `of=${join(mount, 'filler')}`, 'bs=4096']);
    const full = await doctor();
    expect(full.state('disk')).toBe('fail');
    expect(full.todo('disk')).toContain('free some');

    await cluster.stop();
    await run('mount', ['-o', 'remount,ro', mount]);
    const readOnly = await told({}, '--admin', '127.0.0.1:1', '--data', mount, '--only', 'disk');
    expect(readOnly.todo('disk')).toContain('findmnt');
  });

  async function startOn(
    mount: string,
    folder: string,
    settings: readonly string[],
  ): Promise<{ admin: string; stop(): Promise<void> } & AsyncDisposable> {
    const agentArguments = (): string[] => ['--data', join(mount, 'data'), ...settings];
    const cluster = await startCluster({ nodes: 1, folder, tracker: false, agentArguments });
    const stop = (): Promise<void> => cluster.stop();
    return { admin: new URL(cluster.agents[0]!.adminUrl).host, stop, [Symbol.asyncDispose]: stop };
  }
});
