import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { PrefetchNode, PrefetchOrder } from '@shoal/wire';
import { expect, onTestFinished, test } from 'vitest';
import { type FakeIo, fakeIo } from '../fake-io.fixture.ts';
import { runCli } from '../run-cli.ts';
import { ordersText } from './orders.ts';

const MB = 1_000_000;
const node = (name: string, state: PrefetchNode['state'], more: Partial<PrefetchNode> = {}): PrefetchNode => {
  const doneBytes = state === 'done' ? 100 * MB : 0;
  return { name, zone: 'a', state, doneBytes, fromPeers: doneBytes, fromOrigin: 0, ...more };
};
const orderOf = (state: PrefetchOrder['state'], ...nodes: PrefetchNode[]): PrefetchOrder => {
  return { id: 'abc', images: ['docker.io/library/alpine:latest'], orderedBy: 'node-1', orderedAtMs: 0, state, nodes };
};
const begun = orderOf(
  'open',
  node('node-10', 'waiting'),
  node('node-2', 'fetching', { doneBytes: 50 * MB, totalBytes: 100 * MB }),
);
const cancelled = orderOf('cancelled', node('node-2', 'failed', { reason: 'cancelled' }));

interface Agent {
  admin: string;
  asked: { method: string; path: string; body: unknown }[];
}

/** Places give the first answer, each look the next one, the last again and again; DELETE gives the order as cancelled. */
async function agentWith(...answers: (PrefetchOrder | { error: string; refused: true } | 'away')[]): Promise<Agent> {
  const asked: Agent['asked'] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { method = '', url: path = '' } = request;
    asked.push({ method, path, body: text === '' ? undefined : JSON.parse(text) });
    const answer = method === 'DELETE' ? cancelled : answers.length > 1 ? answers.shift()! : answers[0]!;
    if (answer === 'away') request.socket.destroy();
    else response.writeHead('refused' in answer ? (method === 'GET' ? 404 : 503) : 200).end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { admin: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function prefetch(agent: Agent, io: FakeIo, ...args: string[]): Promise<number> {
  return runCli(['prefetch', ...args, '--admin', agent.admin], io);
}

test('what is ordered is what was asked for', async () => {
  const agent = await agentWith(orderOf('ended', node('node-1', 'done')));
  const flags = ['--platform', 'linux/arm64', '--rate', '50MiB/s', '--detach'];
  expect(await prefetch(agent, fakeIo(), 'alpine', 'ghcr.io/org/app:v1', '--nodes', 'b, a', ...flags)).toBe(0);
  await prefetch(agent, fakeIo(), 'alpine', '--nodes', 'all', '--detach');
  await prefetch(agent, fakeIo(), 'alpine', '--zone', 'a', '--detach');
  await prefetch(agent, fakeIo(), 'alpine', '--detach');
  const images = ['docker.io/library/alpine:latest'];
  expect(agent.asked.map(({ body }) => body)).toEqual([
    {
      images: [...images, 'ghcr.io/org/app:v1'],
      names: ['b', 'a'],
      platform: 'linux/arm64',
      bytesPerSecond: 50 * 2 ** 20,
    },
    { images, everywhere: true },
    { images, zone: 'a' },
    { images },
  ]);
});

test('a line per node by name, each again when it changed, and what came of it', async () => {
  const agent = await agentWith(begun, 'away', orderOf('ended', node('node-2', 'done'), node('node-10', 'done')));
  const io = fakeIo();
  expect(await prefetch(agent, io, 'alpine', '--nodes', 'all'), io.err()).toBe(0);
  expect(io.out().replace(/[\d.]+ s\n$/, 'N s\n')).toBe(
    [
      'order abc: docker.io/library/alpine:latest for 2 nodes',
      '',
      'node-2   ████████░░░░░░░░  50 %  50.0 MB  (fetched: peers 0.0 MB, origin 0.0 MB)',
      'node-10  not begun yet',
      'node-2   asking for the manifest',
      'node-10  asking for the manifest',
      '',
      '2 of 2 nodes have it: 200.0 MB came from other nodes, 0.0 MB from registries, N s',
      '',
    ].join('\n'),
  );
});

test('a node without it is told with its reason, which cannot steer the terminal, and fails the command', async () => {
  const failed = node('node-2', 'failed', { reason: 'disk\u001b[2J full' });
  const agent = await agentWith(orderOf('ended', node('node-1', 'done'), failed));
  const io = fakeIo();
  expect(await prefetch(agent, io, 'alpine', '--nodes', 'all', '--json')).toBe(1);
  expect(io.err()).toBe('node-2: disk [2J full\nshoal prefetch: missing on 1 of 2 nodes\n');
  expect(JSON.parse(io.out())).toMatchObject({
    id: 'abc',
    failed: 1,
    fromPeers: 100 * MB,
    seconds: expect.any(Number),
  });
});

test.each([
  ['Ctrl-C', [], 'interrupted'],
  ['the time given', ['--timeout', '100ms'], 'not done in time'],
])('%s cancels the order', async (_, flags, why) => {
  const agent = await agentWith(begun);
  const io = fakeIo();
  const running = prefetch(agent, io, 'alpine', '--nodes', 'all', ...flags);
  await io.printed('node-10');
  if (flags.length === 0) io.signal('SIGINT');
  expect(await running).toBe(1);
  expect(agent.asked.at(-1)).toMatchObject({ method: 'DELETE', path: '/v1/prefetch/abc' });
  expect(io.err()).toContain(`node-2: cancelled\nshoal prefetch: ${why}: missing on 1 of 1 node\n`);
});

test('--detach prints the id and goes', async () => {
  const agent = await agentWith(begun);
  const io = fakeIo();
  expect(await prefetch(agent, io, 'alpine', '--nodes', 'all', '--detach')).toBe(0);
  expect([io.out(), agent.asked.length]).toEqual(['abc\n', 1]);
});

test('an order that nobody knows any more is told at once', async () => {
  const agent = await agentWith(begun, { error: 'no order "abc" is known', refused: true });
  const io = fakeIo();
  expect(await prefetch(agent, io, 'alpine', '--nodes', 'all')).toBe(1);
  expect(io.err()).toBe('shoal prefetch: no order "abc" is known\n');
});

test('a refusal is one line', async () => {
  const agent = await agentWith({ error: 'this agent has no tracker', refused: true });
  const io = fakeIo();
  expect(await prefetch(agent, io, 'alpine', '--nodes', 'all')).toBe(1);
  expect(io.err()).toBe('shoal prefetch: this agent has no tracker\n');
});

test.each([
  [['alpine', '--nodes', 'a b'], 'write all, or names like node-1,node-2'],
  [['alpine', '--rate', '100KiB'], 'at least 1MiB'],
  [['alpine', '--platform', 'amd64'], 'write it like linux/arm64, or all'],
  [['alpine', '--timeout', '0'], 'write it like 30m or 2h'],
  [['A'], 'not an image reference'],
  [['alpine', '--nodes', 'a', '--zone', 'b'], 'give --nodes or --zone, not both'],
  [[], "missing required argument 'IMAGE'"],
])('%j is wrong usage', async (args, complaint) => {
  const io = fakeIo();
  expect(await runCli(['prefetch', ...args], io)).toBe(2);
  expect(io.err()).toMatch(/^shoal prefetch: [^\n]*\n$/);
  expect(io.err()).toContain(complaint);
});

test('orders are listed with how far they are', async () => {
  const { nodes: _, ...about } = orderOf('open');
  const listed = { ...about, images: ['a.io/x:1', 'a.io/y:2'], waiting: 1, fetching: 2, done: 3, failed: 4 };
  expect(ordersText([listed], 120_000)).toBe(
    [
      'order  state  done            ordered    by      images',
      'abc    open   3/10, 4 failed  2 min ago  node-1  a.io/x:1 a.io/y:2',
      '',
    ].join('\n'),
  );
  expect(ordersText([], 0)).toBe('no orders\n');
});
