import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { CommandFailure } from '../command-failure.ts';
import { checkAgent } from './agent.ts';
import { checkClock } from './clock.ts';
import { checkContent } from './content.ts';
import { checkDisk } from './disk.ts';
import type { AgentFacts, ContainerdFacts, DataFacts, PortFact, RegistryFact, TrackerFact } from './facts.ts';
import { checkMembership } from './membership.ts';
import { checkMirror } from './mirror.ts';
import { checkOrigin } from './origin.ts';
import { checkPeers } from './peers.ts';
import { portOwner } from './port-owner.ts';
import { checkPorts, type PortDependencies } from './ports.ts';
import { checkSettings } from './settings.ts';
import { checkTracker } from './tracker.ts';

const GB = 1e9;
const HOUR_MS = 3_600_000;
const URL = 'https://10.0.0.5:7302';
const answers: TrackerFact = { url: URL, outcome: 'ok', message: '', aheadMs: 400 };
const unreachable: TrackerFact = { url: URL, outcome: 'UNREACHABLE', message: '' };
const data: DataFacts = {
  path: '/var/lib/shoal',
  exists: true,
  freeBytes: 100 * GB,
  totalBytes: 200 * GB,
  cacheBytes: 10 * GB,
  quotaBytes: 50 * GB,
  minFreeBytes: GB,
};
const peers: AgentFacts['peers'] = {
  listen: ['/ip4/0.0.0.0/tcp/7301'],
  announced: ['/ip4/10.0.0.7/tcp/7301'],
  answering: ['/ip4/10.0.0.7/tcp/7301'],
  outbound: 3,
  inbound: 2,
  inboundSoFar: 4,
  dialledBack: [],
  strangers: [],
  versions: ['shoal/3'],
};
const facts: AgentFacts = {
  version: '1.2.3',
  upSeconds: 3_700,
  zone: 'a',
  mirror: '127.0.0.1:7300',
  mirrorHandedOver: false,
  peers,
  trackers: [answers],
  trackerReachable: true,
  members: 9,
  membershipExpiresAtMs: 20 * HOUR_MS,
  data,
  registries: [],
};
const withPeers = (given: Partial<typeof peers>, more: Partial<AgentFacts> = {}) =>
  checkPeers({ ...facts, peers: { ...peers, ...given }, ...more });

test('agent: one that answers tells who it is; nobody, and somebody else, are failures', () => {
  expect(checkAgent({ is: 'agent', facts }, 'a:1')).toMatchObject({
    state: 'ok',
    detail: 'Shoal 1.2.3, up 1 h 1 min, zone a',
  });
  expect(checkAgent({ is: 'nobody' }, 'a:1')).toMatchObject({
    state: 'fail',
    todo: expect.stringContaining('systemctl start shoal-agent'),
  });
  expect(checkAgent({ is: 'stranger', why: 'status 404' }, 'a:1')).toMatchObject({
    state: 'fail',
    detail: expect.stringContaining('status 404'),
  });
});

test('settings: the first complaint without the name of this command, and how many more', () => {
  const failure = new CommandFailure(['shoal doctor: --tracker "x" is wrong', 'shoal doctor: another'], 2);
  expect(checkSettings(failure, '/etc/a.yaml')).toMatchObject({
    state: 'fail',
    detail: '--tracker "x" is wrong, and 1 more',
    todo: expect.stringContaining('/etc/a.yaml'),
  });
  const unreadable = new CommandFailure(
    'shoal doctor: join-token "/t" may not be read by this user; check its mode',
    2,
  );
  expect(checkSettings(unreadable, '/etc/a.yaml')).toMatchObject({
    state: 'warn',
    todo: expect.stringContaining('as root'),
  });
  expect(checkSettings({ warnings: ['SHOAL_X is unknown'] }, undefined).state).toBe('warn');
  expect(checkSettings({ warnings: [] }, '/etc/a.yaml').state).toBe('ok');
});

describe('ports', () => {
  const mirror: PortFact = { setting: 'mirror', host: '127.0.0.1', port: 7300 };
  const peer: PortFact = { setting: 'peer-listen', host: '0.0.0.0', port: 7301 };
  const free: PortDependencies = {
    accepts: async () => true,
    obstacle: async () => undefined,
    owner: async () => 'nginx (pid 8)',
  };

  test('all of a running agent take connections, and those of an absent one are free', async () => {
    expect(await checkPorts([mirror, peer], true, free)).toMatchObject({ state: 'ok' });
    expect(await checkPorts([mirror, peer], false, free)).toMatchObject({
      state: 'ok',
      detail: 'free: mirror 127.0.0.1:7300, peers 0.0.0.0:7301',
    });
  });

  test('one that is taken is told with its owner', async () => {
    const taken = { ...free, obstacle: async (_: string, port: number) => (port === 7300 ? 'EADDRINUSE' : undefined) };
    expect(await checkPorts([mirror, peer], false, taken)).toMatchObject({
      state: 'fail',
      detail: 'mirror 127.0.0.1:7300 is taken by nginx (pid 8)',
      todo: expect.stringMatching(/stop nginx \(pid 8\).*--mirror/),
    });
  });

  test('the mirror at a socket of systemd is told, whether an agent runs or not; any other port that pid 1 has is taken', async () => {
    const held = 'mirror 127.0.0.1:7300 (held by systemd: clients wait for the agent)';
    const bySystemd = { ...free, obstacle: async () => 'EADDRINUSE', owner: async () => 'systemd (pid 1)' };
    expect(await checkPorts([{ ...mirror, isHandedOver: true }], true, free)).toMatchObject({
      state: 'ok',
      detail: held,
    });
    expect(await checkPorts([mirror], false, bySystemd)).toMatchObject({ state: 'ok', detail: `free: ${held}` });
    expect(await checkPorts([peer], false, bySystemd)).toMatchObject({ state: 'fail' });
  });

  test.each([
    ['EACCES', 'above 1023'],
    ['EADDRNOTAVAIL', 'ip address'],
  ])('%s has its own advice', async (code, advice) => {
    const finding = await checkPorts([mirror], false, { ...free, obstacle: async () => code });
    expect(finding).toMatchObject({ state: 'fail', todo: expect.stringContaining(advice) });
  });

  test('a running agent that takes no connection, at a wildcard address tried on loopback', async () => {
    const tried: string[] = [];
    const accepts = async (host: string) => tried.push(host) < 0;
    expect(await checkPorts([peer], true, { ...free, accepts })).toMatchObject({ state: 'fail' });
    expect(tried).toEqual(['127.0.0.1']);
  });

  test('a mirror for everybody is worth a look', async () => {
    const finding = await checkPorts([{ ...mirror, host: '0.0.0.0' }], true, free);
    expect(finding).toMatchObject({ state: 'warn', todo: expect.stringContaining('127.0.0.1') });
  });
});

describe('the owner of a port', () => {
  const server = createServer();
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  test.runIf(process.platform === 'linux')('is this process, where it listens itself', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    expect(await portOwner(port)).toContain(`(pid ${process.pid})`);
    await new Promise((resolve) => server.close(resolve));
    expect(await portOwner(port)).toBeUndefined();
  });
});

describe('mirror', () => {
  const ping =
    (status: number, isRegistry = true) =>
    async () => ({ status, isRegistry });
  const question = { mirror: '127.0.0.1:7300', registries: [] };

  test('answers like a registry', async () => {
    expect(await checkMirror(question, ping(200))).toMatchObject({ state: 'ok' });
  });

  test.each([
    ['nothing', async () => undefined, 'gets no answer'],
    ['an error', ping(503), 'answers 503'],
    ['a web server', ping(200, false), 'not like a registry'],
  ])('%s in its place is a failure', async (_name, answer, detail) => {
    const finding = await checkMirror(question, answer);
    expect(finding).toMatchObject({ state: 'fail', detail: expect.stringContaining(detail), todo: expect.any(String) });
  });

  test.each([
    ['http://127.0.0.1:7300', '127.0.0.1:7300', true],
    ['http://localhost:7300/', '0.0.0.0:7300', true],
    ['http://[::1]:7300', '[::1]:7300', true],
    ['http://127.0.0.1:5000', '127.0.0.1:7300', false],
    ['http://10.0.0.9:7300', '127.0.0.1:7300', false],
  ])('a registry at %s and the mirror at %s: a loop is %s', async (url, mirror, loops) => {
    const finding = await checkMirror({ mirror, registries: [{ registry: 'r.test', url }] }, ping(200));
    expect(finding.state).toBe(loops ? 'fail' : 'ok');
    if (loops) expect(finding.todo).toContain('--registry r.test=URL');
  });
});

describe('clock', () => {
  test.each([
    [400, 'ok'],
    [-9_000, 'ok'],
    [60_000, 'warn'],
    [-600_000, 'fail'],
  ])('%i ms ahead is %s', (aheadMs, state) => {
    const finding = checkClock([{ ...answers, aheadMs }]);
    expect(finding.state).toBe(state);
    if (state !== 'ok') expect(finding.todo).toContain('timedatectl');
  });

  test('nobody to compare with is no finding', () => {
    expect(checkClock([]).state).toBe('skip');
    expect(checkClock([unreachable]).state).toBe('skip');
  });
});

describe('tracker', () => {
  test('answers, is not there, or is one of two', () => {
    expect(checkTracker([answers]).state).toBe('ok');
    expect(checkTracker([unreachable])).toMatchObject({
      state: 'fail',
      todo: expect.stringContaining(`curl -k ${URL}`),
    });
    expect(checkTracker([unreachable, { ...answers, url: 'https://b:1' }]).state).toBe('warn');
    expect(checkTracker([])).toMatchObject({ state: 'warn', todo: expect.stringContaining('tracker:') });
  });

  test.each([
    ['WRONG_JOIN_TOKEN', 'join-token'],
    ['WRONG_PIN', 'check tracker:'],
    ['BARRED', 'empty its data folder'],
    ['INTERNAL', 'whether that answers them'],
    ['CLOCK_SKEW', 'timedatectl'],
    ['TIMEOUT', 'systemctl status shoal-tracker'],
    ['TOO_MANY_REQUESTS', 'wait'],
    ['BAD_ANSWER', 'of one version'],
  ])('%s says what to do', (outcome, advice) => {
    const finding = checkTracker([{ url: URL, outcome, message: 'm' }]);
    expect(finding).toMatchObject({ state: 'fail', todo: expect.stringContaining(advice) });
  });
});

test('membership: current, late, unreachable, none', () => {
  expect(checkMembership(facts, 0)).toMatchObject({ state: 'ok', detail: expect.stringContaining('9 members') });
  expect(checkMembership(facts, 18 * HOUR_MS)).toMatchObject({ state: 'warn', todo: expect.any(String) });
  expect(checkMembership({ ...facts, trackerReachable: false }, 0).state).toBe('warn');
  const { membershipExpiresAtMs: _, ...without } = facts;
  expect(checkMembership(without, 0)).toMatchObject({ state: 'fail', todo: expect.any(String) });
  expect(checkMembership({ ...facts, trackers: [] }, 0).state).toBe('skip');
  expect(checkMembership(undefined, 0).state).toBe('skip');
});

describe('peers', () => {
  test('who was dialled by another can be dialled', () => {
    expect(withPeers({})).toMatchObject({ state: 'ok', detail: expect.stringContaining('both ways work') });
  });

  test('who never was is not called well', () => {
    const finding = withPeers({ inbound: 0, inboundSoFar: 0 });
    expect(finding).toMatchObject({ state: 'warn', detail: expect.stringContaining('not proven') });
    expect(finding.todo).toContain('nc -vz 10.0.0.7 7301');
  });

  test('an address that does not answer even here, and loopback ones, are told', () => {
    expect(withPeers({ inbound: 0, inboundSoFar: 0, answering: [] })).toMatchObject({
      state: 'warn',
      detail: expect.stringContaining('not even from here'),
    });
    const announced = ['/ip4/127.0.0.1/tcp/7301'];
    expect(withPeers({ inbound: 0, inboundSoFar: 0, announced, answering: announced })).toMatchObject({
      state: 'warn',
      todo: expect.stringContaining('peer-announce'),
    });
  });

  test('members that dialled it back say which address answered whom, and what to do about those that did not', () => {
    const [own, bridge] = ['/ip4/10.0.0.7/tcp/7301', '/ip4/172.17.0.1/tcp/7399'];
    const by = (peerId: string, ...tried: [address: string, reached: boolean][]) => ({
      peerId,
      zone: 'a',
      outcome: 'answered' as const,
      tried: tried.map(([address, reached]) => ({ address, reached })),
    });
    const reach = (...dialledBack: AgentFacts['peers']['dialledBack']) => withPeers({ inboundSoFar: 0, dialledBack });
    expect(reach(by('P1', [own, true]), by('P2', [own, true]))).toMatchObject({
      state: 'ok',
      detail: expect.stringContaining(`both ways work: ${own} answered P1, P2`),
    });
    const partly = reach(by('P1', [own, true], [bridge, false]));
    expect(partly).toMatchObject({ state: 'warn', detail: expect.stringContaining(`${bridge} did not answer P1`) });
    expect(partly.todo).toContain(
      `open TCP 7399 to the other nodes, or set peer-announce in /etc/shoal/agent.yaml to ${own} alone`,
    );
    // Whoever connects through an address translation was dialled once, and still cannot be by what it announces.
    const never = withPeers({ dialledBack: [by('P1', [own, false])] });
    expect(never).toMatchObject({ state: 'fail', detail: expect.stringContaining(`${own} did not answer P1`) });
    expect(never.todo).toContain('open TCP 7301');
    // Those that do not know the question prove nothing either way.
    expect(reach({ ...by('P1'), outcome: 'unsupported' })).toMatchObject({
      state: 'warn',
      todo: expect.stringMatching(/^try/),
    });
  });

  test('agents of another version are named, with what they speak', () => {
    const strangers = [{ peerId: 'P9', host: '10.0.0.9', versions: ['shoal/5', 'shoal/4'] }, { host: '10.0.0.8' }];
    expect(withPeers({ strangers })).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(
        /member P9 at 10\.0\.0\.9 speaks shoal\/5, shoal\/4; an agent at 10\.0\.0\.8 speaks a version that it does not tell; this agent speaks shoal\/3/,
      ),
      todo: expect.stringContaining('update the older'),
    });
    expect(withPeers({ strangers, outbound: 0, inbound: 0 })).toMatchObject({ state: 'fail' });
  });

  test('nobody connected is a failure, but for an agent that has just started', () => {
    const none = { outbound: 0, inbound: 0, inboundSoFar: 0 };
    expect(withPeers(none)).toMatchObject({ state: 'fail', todo: expect.stringContaining('7301') });
    expect(withPeers(none, { upSeconds: 5 }).state).toBe('warn');
    expect(withPeers(none, { members: 1 }).state).toBe('skip');
    expect(withPeers({ ...none, announced: [] })).toMatchObject({
      state: 'fail',
      todo: expect.stringContaining('peer-announce'),
    });
  });
});

describe('content', () => {
  const listed: ContainerdFacts = {
    socket: '/run/containerd/containerd.sock',
    state: 'listed',
    folder: '/var/lib/containerd/io.containerd.content.v1.content',
    ...{ blobs: 212, bytes: 1.84 * GB, waiting: 0, wrong: 0, unreadable: 0 },
  };

  test('says how much is shared, and what is still to come', () => {
    expect(checkContent({ ...listed, waiting: 3 })).toEqual({
      name: 'content',
      state: 'ok',
      detail: `212 blobs, 1840.0 MB, are shared from ${listed.folder}; 3 more are hashed first`,
    });
  });

  test.each([
    [
      'unreachable',
      { problem: 'connect EACCES /run/containerd/containerd.sock' },
      /does not answer at .*EACCES/,
      /takes root/,
    ],
    ['unreadable', { problem: '/x may not be read' }, /cannot be read: \/x may not be read/, /run the agent as root/],
    ['listed', { wrong: 2 }, /not what their names say, and never shared: 2$/, /check the disk/],
    ['listed', { unreadable: 1 }, /cannot be read: 1$/, /check their rights/],
  ])('%s, %o: a warning with what to do', (state, more, detail, todo) => {
    expect(checkContent({ ...listed, state, ...more })).toEqual({
      name: 'content',
      state: 'warn',
      detail: expect.stringMatching(detail),
      todo: expect.stringMatching(todo),
    });
  });

  test('an agent that has just started has not asked yet', () => {
    expect(checkContent({ ...listed, state: 'connecting' }).state).toBe('skip');
  });
});

describe('disk', () => {
  test('room for the whole cache, counting what it holds already', () => {
    expect(checkDisk(data)).toMatchObject({ state: 'ok', detail: expect.stringContaining('100.0 GB free') });
    expect(checkDisk({ ...data, freeBytes: 41 * GB }).state).toBe('ok');
    expect(checkDisk({ ...data, freeBytes: 40 * GB })).toMatchObject({
      state: 'warn',
      todo: expect.stringMatching(/cache-size: \d+MiB/),
    });
    expect(checkDisk({ ...data, freeBytes: 20 * GB, cacheBytes: undefined }).state).toBe('ok');
  });

  test('full is a failure', () => {
    expect(checkDisk({ ...data, freeBytes: GB / 2 })).toMatchObject({
      state: 'fail',
      todo: expect.stringContaining('min-free-disk'),
    });
  });

  test('a folder that cannot even be made', () => {
    expect(checkDisk({ ...data, exists: false, problem: 'EACCES' })).toMatchObject({
      state: 'fail',
      todo: expect.stringContaining('install -d'),
    });
  });

  test.each([
    ['EROFS', 'findmnt'],
    ['ENOSPC', 'free some'],
    ['EACCES', 'chown'],
    ['ENOTDIR', '--data DIR'],
    ['EIO', 'dmesg'],
  ])('%s says what to do', (problem, advice) => {
    expect(checkDisk({ ...data, problem })).toMatchObject({ state: 'fail', todo: expect.stringContaining(advice) });
  });
});

describe('origin', () => {
  const asked = (given: Partial<RegistryFact>) => checkOrigin({ registry: 'r.test', outcome: 'open', ...given });

  test.each(['open', 'anonymous', 'accepted', 'wanted'])('%s is well', (outcome) => {
    expect(asked({ outcome, url: 'https://r.test/' })).toMatchObject({ name: 'origin r.test', state: 'ok' });
  });

  test('few pulls left are told before there are none', () => {
    expect(asked({ limit: { remaining: 70, limit: 100 } })).toMatchObject({
      state: 'ok',
      detail: expect.stringContaining('70 of 100 pulls left'),
    });
    expect(asked({ limit: { remaining: 3 } })).toMatchObject({
      state: 'warn',
      todo: expect.stringContaining('username'),
    });
  });

  test.each([
    [{ outcome: 'denied' }, 'password-file'],
    [{ outcome: 'blocked-host' }, '--registry r.test='],
    [{ outcome: 'refused', status: 400, message: 'r.test answered 400' }, 'should say 200 or 401'],
    [{ outcome: 'unavailable', status: 508, message: 'r.test answered 508' }, 'past the mirror'],
    [{ outcome: 'unavailable', status: 503, message: 'r.test answered 503' }, 'wait'],
    [{ outcome: 'rate-limited', message: 'r.test answered 429' }, 'higher limit'],
    [{ outcome: 'unreachable', message: 'm', cause: 'ENOTFOUND' }, 'getent hosts r.test'],
    [{ outcome: 'unreachable', message: 'm', cause: 'SELF_SIGNED_CERT_IN_CHAIN' }, 'ca-file'],
    [{ outcome: 'unreachable', message: 'm', cause: 'ERR_SSL_WRONG_VERSION_NUMBER' }, 'url: http://r.test'],
    [
      { outcome: 'unreachable', message: 'm', cause: 'ECONNREFUSED', url: 'http://10.0.0.9:5000' },
      'curl -i http://10.0.0.9:5000/v2/',
    ],
    [{ outcome: 'timeout', message: 'm' }, 'curl -i https://r.test/v2/'],
    [{ outcome: 'not-found', message: 'r.test answered 404' }, 'should say 200 or 401'],
  ])('%j says what to do', (given, advice) => {
    expect(asked(given)).toMatchObject({ state: 'fail', todo: expect.stringContaining(advice) });
  });
});
