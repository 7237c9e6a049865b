import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { fakeIo } from './fake-io.fixture.ts';
import { runCli } from './run-cli.ts';
import { type AgentStatus, statusText } from './status-command.ts';

const GB = 1e9;
const STATUS: AgentStatus = {
  version: '0.1.0',
  upSeconds: 93_784,
  peerId: '12D3KooWabc',
  mirror: 'http://127.0.0.1:7300',
  name: 'node-7',
  zone: 'eu-west-1a',
  trackers: ['https://10.0.0.5:7302'],
  trackerReachable: true,
  members: 300,
  peers: [
    { peerId: '12D3KooWone', zone: 'eu-west-1a' },
    { peerId: '12D3KooWtwo', zone: 'eu-west-1b' },
  ],
  strangers: [],
  cache: { bytes: 12 * GB, blobs: 431, quotaBytes: 50 * GB },
  bytes: { fromPeers: 4 * GB, fromOrigin: 0.3 * GB, fromStore: GB, toPeers: 3.9 * GB, toClients: 5.3 * GB },
  pulls: [
    {
      blob: `ghcr.io/sha256:${'ab12'.repeat(16)}`,
      sizeBytes: 128e6,
      heldBytes: 64e6,
      seconds: 12.4,
    },
  ],
};

/** An admin address that answers so, whatever is asked; gives `HOST:PORT`. */
async function answering(answer: string | (() => [body: string, status: number])): Promise<string> {
  const server = createServer((_, response) => {
    const [body, status] = typeof answer === 'string' ? [answer, 200] : answer();
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const code = await runCli(['status', ...args], io);
  return { code, out: io.out(), err: io.err() };
}

test('an agent at a glance', () => {
  expect(statusText(STATUS)).toBe(
    [
      'node     node-7',
      'agent    Shoal 0.1.0, up 1 d 2 h, zone eu-west-1a',
      'mirror   http://127.0.0.1:7300',
      'tracker  https://10.0.0.5:7302 answers',
      'members  2 connected in 2 zones, of 299 others',
      'cache    12000.0 MB of 50000.0 MB, 431 blobs',
      'got      4000.0 MB from other agents, 300.0 MB from registries, 1000.0 MB from its cache',
      'gave     3900.0 MB to other agents, 5300.0 MB to container runtimes',
      'pulls    1 under way',
      '  ghcr.io sha256:ab12ab12ab12…  ████████░░░░░░░░  50 %  64.0 MB of 128.0 MB, 12 s',
      '',
    ].join('\n'),
  );
});

test('what is shared from containerd, and what is the matter with it', () => {
  const containerd = {
    socket: '/run/containerd/containerd.sock',
    state: 'listed',
    ...{ blobs: 212, bytes: 1.84 * GB, waiting: 0, wrong: 0, unreadable: 0 },
  };
  expect(statusText({ ...STATUS, containerd })).toContain(
    "\nruntime  1840.0 MB shared from containerd's own store, 212 blobs\n",
  );
  const bad = { ...containerd, state: 'unreachable', problem: 'connect ECONNREFUSED', waiting: 4, wrong: 1 };
  expect(statusText({ ...STATUS, containerd: bad })).toContain(
    ', 212 blobs; 4 more to be hashed first; 1 ARE NOT WHAT THEIR NAMES SAY; UNREACHABLE: connect ECONNREFUSED\n',
  );
});

test('what is wrong stands out', () => {
  const away = statusText({ ...STATUS, trackerReachable: false, pulls: [] });
  expect(away).toContain('tracker  https://10.0.0.5:7302 DOES NOT ANSWER: known members and registries are used');
  expect(away).toContain('pulls    none under way');
  expect(statusText({ ...STATUS, trackers: [] })).toContain('none: this agent shares with nobody');
});

test('many pulls do not fill the screen', () => {
  const text = statusText({ ...STATUS, pulls: Array.from({ length: 50 }, () => STATUS.pulls[0]!) });
  expect(text.split('\n')).toHaveLength(9 + 20 + 1 + 1);
  expect(text).toContain('  and 30 more');
});

test('JSON is what the agent says, in one line', async () => {
  const admin = await answering(JSON.stringify({ ...STATUS, more: 'of a later version' }));
  const { code, out } = await run('--json', '--admin', admin);
  expect([code, JSON.parse(out)]).toEqual([0, STATUS]);
  expect(out.split('\n')).toHaveLength(2);
});

test('where SHOAL_ADMIN says where the agent is, as in its pod, it need not be told again', async () => {
  const admin = await answering(JSON.stringify(STATUS));
  const io = fakeIo({ SHOAL_ADMIN: admin });
  expect([await runCli(['status'], io), io.out()]).toEqual([0, expect.stringContaining('tracker ')]);
  const nobody = fakeIo({ SHOAL_ADMIN: admin });
  expect(await runCli(['status', '--admin', '127.0.0.1:1'], nobody)).toBe(1);
});

test('nothing that an answer holds steers the terminal', async () => {
  const admin = await answering(JSON.stringify({ ...STATUS, zone: 'a\u001b[2Jb\nc' }));
  const { out } = await run('--admin', admin);
  expect(out).not.toContain('\u001b');
  expect(out.split('\n')[1]).toMatch(/zone a.*b.*c$/);
});

test('what is no agent is told from none', async () => {
  const other = await answering('<html>');
  expect(await run('--admin', other)).toEqual({
    code: 1,
    out: '',
    err: `shoal status: what answers at ${other} (status 200) is no agent that can tell its status; check --admin\n`,
  });
  const nobody = await run('--admin', '127.0.0.1:1');
  expect([nobody.code, nobody.err]).toEqual([1, expect.stringContaining('no agent answers at 127.0.0.1:1')]);
  expect((await run('--admin', 'nowhere')).code).toBe(2);
});

test('--watch goes on while the agent is away, until Ctrl-C, which is no failure', async () => {
  const io = fakeIo();
  let asked = 0;
  const admin = await answering(() => (++asked === 2 ? ['starting', 503] : [JSON.stringify(STATUS), 200]));
  const running = runCli(['status', '--watch', '--admin', admin], io);
  await expect.poll(() => io.out().split('agent    Shoal').length, { timeout: 5_000 }).toBe(3);
  io.signal('SIGINT');
  expect(await running).toBe(0);
  expect(io.err()).toMatch(/^shoal status: what answers at .* \(status 503\) [^\n]*\n$/);
});
