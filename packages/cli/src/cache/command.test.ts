import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { fakeIo } from '../fake-io.fixture.ts';
import { runCli } from '../run-cli.ts';
import type { CachedBlob } from './answers.ts';

type Answers = Record<string, (request: IncomingMessage, response: ServerResponse, body: string) => void>;

/** An admin address that answers these paths below /v1/cache/; gives `HOST:PORT`. */
async function answering(answers: Answers): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += String(chunk)));
    request.on('end', () => {
      const answer = answers[(request.url ?? '').replace('/v1/cache/', '')];
      if (answer === undefined) response.writeHead(404).end('{"error":"not found"}');
      else answer(request, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = fakeIo();
  const code = await runCli(['cache', ...args], io);
  return { code, out: io.out(), err: io.err() };
}

const digest = (character: string): string => `sha256:${character.repeat(64)}`;
const usage = { bytes: 1.5e9, blobs: 3, quotaBytes: 50e9, pinnedBytes: 2e6, pinLimitBytes: 37e9 };
const blob = (character: string, more: Partial<CachedBlob>): CachedBlob => ({
  registry: 'ghcr.io',
  digest: digest(character),
  sizeBytes: 1_234,
  usedAt: new Date(Date.now() - 3.2 * 3_600_000).toISOString(),
  pinned: false,
  inUse: false,
  ...more,
});
const BLOBS = [
  blob('b', { kind: 'manifest', pinned: true }),
  blob('c', { kind: 'layer', sizeBytes: 1.4e9, usedAt: new Date(Date.now() - 61_000).toISOString(), inUse: true }),
  blob('a', { registry: 'docker.io', sizeBytes: 25, usedAt: new Date(Date.now() - 5 * 86_400_000).toISOString() }),
];
const json =
  (value: unknown, status = 200) =>
  (_: unknown, response: ServerResponse): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
const lines =
  (...values: unknown[]) =>
  (_: unknown, response: ServerResponse): void =>
    void response.end(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
const listing: Answers = { pins: json({ pins: [], usage }), blobs: lines(...BLOBS) };

test('ls tells what is shared from containerd beside the cache', async () => {
  const beside = { ...usage, inRuntime: { blobs: 1, bytes: 7e6 } };
  const admin = await answering({ pins: json({ pins: [], usage: beside }), blobs: lines() });
  expect((await run('ls', '--admin', admin)).out).toContain(
    "pinned; beside it 1 blob, 7.0 MB, shared from containerd's own store.\n",
  );
});

test('ls shows a table, what was used last at its head', async () => {
  const admin = await answering(listing);
  expect((await run('ls', '--admin', admin)).out).toBe(
    [
      'digest                 size  kind      last used              registry',
      'sha256:cccccccccccc  1.4 GB  layer     1 min ago  being read  ghcr.io',
      'sha256:bbbbbbbbbbbb  1.2 kB  manifest  3 h ago    pinned      ghcr.io',
      'sha256:aaaaaaaaaaaa    25 B  -         5 d ago                docker.io',
      '',
      '3 blobs; 1.5 GB of 50.0 GB used, 2.0 MB of it pinned.',
      '',
    ].join('\n'),
  );
  const order = async (by: string): Promise<string> => {
    const { out } = await run('ls', '--sort', by, '--admin', admin);
    return [...out.matchAll(/sha256:(.)/g)].map(([, character]) => character).join('');
  };
  expect([await order('size'), await order('name')]).toEqual(['cba', 'abc']);
  expect((await run('ls', '--no-trunc', '--admin', admin)).out).toContain(`${digest('c')}  1.4 GB`);
  expect(JSON.parse((await run('ls', '--json', '--admin', admin)).out)).toMatchObject({
    blobs: [{ digest: digest('c') }, { digest: digest('b') }, { digest: digest('a') }],
    usage,
  });
});

test('ls of an empty cache, and of pins', async () => {
  const none = { ...usage, bytes: 0, blobs: 0, pinnedBytes: 0 };
  const empty = await answering({ pins: json({ pins: [], usage: none }), blobs: lines() });
  expect((await run('ls', '--admin', empty)).out).toBe('0 blobs; 0 B of 50.0 GB used.\n');
  expect((await run('ls', '--pins', '--admin', empty)).out).toBe('Nothing is pinned.\n');
  const pin = { name: 'ghcr.io/org/app:v1', blobs: 5, bytes: 2e6, missing: 1 };
  const admin = await answering({ pins: json({ pins: [pin], usage }) });
  expect((await run('ls', '--pins', '--admin', admin)).out).toBe(
    'pin                   size  blobs\nghcr.io/org/app:v1  2.0 MB      5  1 not here\n',
  );
});

test('what is asked for is what is sent, and what came of it is told', async () => {
  const sent: string[] = [];
  const keeping =
    (value: object) =>
    (request: IncomingMessage, response: ServerResponse, body: string): void => {
      sent.push(`${request.method} ${request.headers['content-type']} ${body}`);
      response.end(JSON.stringify(value));
    };
  const went = { blobs: 2, bytes: 3e6, named: BLOBS.slice(0, 2), usage };
  const admin = await answering({
    remove: keeping({ ...went, keptPinned: 1 }),
    prune: keeping({ ...went, partials: 1 }),
    pin: keeping({ pins: [{ name: 'docker.io/library/alpine:latest', blobs: 3, bytes: 8.4e6, missing: 2 }] }),
    unpin: keeping({ unpinned: ['docker.io/library/alpine:latest'] }),
  });
  expect((await run('rm', 'alpine', digest('a'), '--force', '--admin', admin)).out).toBe(
    'Removed 2 blobs, 3.0 MB.\nBeing read, and off the disk when that is over: 1.\nKept, because they are pinned for another image: 1.\n',
  );
  expect((await run('prune', '--keep', '20GB', '--older-than', '7d', '--dry-run', '--admin', admin)).out).toMatch(
    /^digest .*\nsha256:b.*\nsha256:c.*\nWould remove 2 blobs and 1 half-pulled one, 3\.0 MB\.\nNow: 3 blobs; /,
  );
  expect((await run('pin', 'alpine', '--admin', admin)).out).toBe(
    'Pinned: docker.io/library/alpine:latest, 3 blobs, 8.4 MB. Not here yet, and kept as soon as they are pulled: 2.\n',
  );
  expect((await run('unpin', 'alpine', '--json', '--admin', admin)).out).toBe(
    '{"unpinned":["docker.io/library/alpine:latest"]}\n',
  );
  expect(sent).toEqual([
    `POST application/json {"names":["alpine","${digest('a')}"],"force":true}`,
    'POST application/json {"keepBytes":20000000000,"olderThanMs":604800000,"dryRun":true}',
    'POST application/json {"names":["alpine"]}',
    'POST application/json {"names":["alpine"]}',
  ]);
});

test('what the agent refuses is said in its words', async () => {
  const admin = await answering({ remove: json({ error: 'x is pinned; unpin it, or add --force' }, 409) });
  expect(await run('rm', 'x', '--admin', admin)).toEqual({
    code: 1,
    out: '',
    err: 'shoal cache rm: x is pinned; unpin it, or add --force\n',
  });
  expect((await run('ls', '--admin', admin)).err).toBe(
    `shoal cache ls: what answers at ${admin} (status 404) is no agent that can list its cache; check --admin\n`,
  );
});

const progress = { checkedBlobs: 1, checkedBytes: 50, totalBlobs: 2, totalBytes: 100, damaged: [], done: false };

test('verify shows on a terminal how far it is, and ends with 1 when something was damaged', async () => {
  const end = { ...progress, checkedBlobs: 2, checkedBytes: 100, damaged: [BLOBS[0]], done: true };
  const admin = await answering({ verify: lines(progress, end) });
  const io = fakeIo({}, { isTTY: true });
  expect(await runCli(['cache', 'verify', '--admin', admin], io)).toBe(1);
  expect(io.err()).toMatch(/████████░░░░░░░░ {2}50 % {2}50 B of 100 B/);
  expect(io.err()).toContain('\r\u001b[2Kshoal cache verify: 1 blob was damaged and dropped; ');
  expect(io.out()).toBe(`damaged  ghcr.io/${digest('b')}  1.2 kB\n2 blobs read back, 100 B: 1 damaged.\n`);
  const piped = await run('verify', '--json', '--admin', admin);
  expect(JSON.parse(piped.out)).toEqual({ done: true, blobs: 2, bytes: 100, damaged: [BLOBS[0]] });
  expect(piped.err).not.toContain('█');
});

test('an agent that goes away while it verifies has verified nothing to rely on', async () => {
  const cut = await answering({
    verify: (_, response) => void response.write(`${JSON.stringify(progress)}\n`, () => response.destroy()),
  });
  expect(await run('verify', '--admin', cut)).toMatchObject({
    code: 1,
    err: `shoal cache verify: the agent at ${cut} stopped answering; see its log, and try again\n`,
  });
  const short = await answering({ verify: lines(progress) });
  expect(await run('verify', '--admin', short)).toMatchObject({
    code: 1,
    err: 'shoal cache verify: the agent stopped before all blobs were read; see its log\n',
  });
});

test('Ctrl-C ends the verification at the agent, too', async () => {
  const gone = Promise.withResolvers<void>();
  const io = fakeIo();
  const admin = await answering({
    verify: (_, response) => {
      response.on('close', gone.resolve);
      response.write(`${JSON.stringify(progress)}\n`, () => setImmediate(() => io.signal('SIGINT')));
    },
  });
  expect(await runCli(['cache', 'verify', '--admin', admin], io)).toBe(1);
  expect(io.err()).toBe('shoal cache verify: ended before all blobs were read\n');
  await gone.promise;
});

test.each([
  [[], 'Shows and changes what the agent on this machine keeps'],
  [['rm'], "shoal cache rm: missing required argument 'NAME'"],
  [['prune', '--keep', 'much'], 'a size like 20GB or 500MiB is needed.'],
  [['prune', '--older-than', '7'], 'a duration like 12h or 7d is needed.'],
  [['ls', '--sort', 'age'], 'Allowed choices are used, size, name.'],
  [['ls', '--jsn'], "shoal cache ls: unknown option '--jsn'. Did you mean --json?"],
  [['verify', '--admin', 'x'], 'shoal cache verify: --admin "x" is not an address; write it as HOST:PORT'],
  [['nope'], "shoal cache: unknown command 'nope'."],
])('wrong usage: %j', async (args, said) => {
  const { code, err } = await run(...args);
  expect(code).toBe(2);
  expect(err).toContain(said);
});
