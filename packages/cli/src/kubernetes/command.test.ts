import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { fakeIo } from '../fake-io.fixture.ts';
import { runCli } from '../run-cli.ts';

// A server that answers the few questions as the Kubernetes API does, over TLS, to the one token that it knows.

let folder: string;
let server: Server;
let objects: Map<string, { metadata: { name: string }; data?: Record<string, string> }>;
let failures: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-kubernetes-'));
  const made = await generate([{ name: 'commonName', value: 'kubernetes' }], {
    keyType: 'ec',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  await writeFile(join(folder, 'ca.crt'), made.cert);
  await writeFile(join(folder, 'token'), 'service-account-token\n');
  await writeFile(join(folder, 'namespace'), 'shoal-system');
  server = createServer({ key: made.private, cert: made.cert }, (request, response) => {
    const answer = (status: number, body: object): void => void response.writeHead(status).end(JSON.stringify(body));
    if (request.headers.authorization !== 'Bearer service-account-token')
      return answer(401, { message: 'Unauthorized' });
    if (failures > 0) {
      failures -= 1;
      return answer(503, { message: 'overloaded' });
    }
    const path = request.url ?? '';
    if (request.method === 'GET') {
      const found = objects.get(path);
      return found === undefined ? answer(404, { message: `${path} not found` }) : answer(200, found);
    }
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const made = JSON.parse(text);
      const at = `${path}/${made.metadata.name}`;
      if (objects.has(at)) return answer(409, { message: 'AlreadyExists' });
      objects.set(at, made);
      answer(201, made);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  objects = new Map();
  failures = 0;
});

async function run(...args: string[]) {
  const { port } = server.address() as AddressInfo;
  const io = fakeIo({ KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) });
  const code = await runCli(['kubernetes', ...args, '--service-account', folder], io);
  return { code, out: io.out(), err: io.err() };
}

const secretPath = '/api/v1/namespaces/shoal-system/secrets/shoal-identity';
const nodePath = '/api/v1/nodes/node-1';

test('a missing Secret is made once, with an identity that fits together, and is never changed', async () => {
  failures = 1;
  expect(await run('identity', 'shoal-identity')).toEqual({
    code: 0,
    out: 'The Secret shoal-identity is made.\n',
    err: '',
  });
  const { data = {} } = objects.get(secretPath) ?? {};
  const text = (name: string) => Buffer.from(data[name] ?? '', 'base64').toString();
  expect(Object.keys(data).sort()).toEqual(['cluster-key.pem', 'join-secret', 'join-token', 'tls.pem']);
  const key = new X509Certificate(text('tls.pem')).publicKey.export({ type: 'spki', format: 'der' });
  expect(text('join-token')).toContain(createHash('sha256').update(key).digest('base64url'));
  expect(text('join-token')).toContain(text('join-secret').trim());

  const before = structuredClone(objects);
  const again = await run('identity', 'shoal-identity', '--json');
  expect(again).toEqual({ code: 0, out: '{"secret":"shoal-identity","result":"kept"}\n', err: '' });
  expect(objects).toEqual(before);
});

test('a Secret that lacks something is told, not replaced', async () => {
  objects.set(secretPath, { metadata: { name: 'shoal-identity' }, data: { 'tls.pem': 'eA==' } });
  const { code, err } = await run('identity', 'shoal-identity');
  expect([code, err]).toEqual([
    1,
    expect.stringContaining('lacks cluster-key.pem, join-secret, join-token; restore it'),
  ]);
  expect(objects.size).toBe(1);
});

test("a node's zone is written; without a label it is the default one", async () => {
  const file = join(folder, 'new/zone');
  objects.set(nodePath, {
    metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'eu-1a', rack: 'r7' } } as never,
  });
  expect(await run('zone', 'node-1', '--into', file)).toEqual({
    code: 0,
    out: 'The node node-1 is in the zone eu-1a.\n',
    err: '',
  });
  expect(await readFile(file, 'utf8')).toBe('eu-1a\n');
  expect((await run('zone', 'node-1', '--into', file, '--label', 'rack', '--json')).out).toBe(
    '{"node":"node-1","zone":"r7"}\n',
  );
  expect((await run('zone', 'node-1', '--into', file, '--label', 'none')).code).toBe(0);
  expect(await readFile(file, 'utf8')).toBe('default\n');
});

test('while the API does not answer the zone of the last start is kept; without one the command fails', async () => {
  const file = join(folder, 'kept-zone');
  failures = Number.POSITIVE_INFINITY;
  const first = await run('zone', 'node-1', '--into', file, '--within', '10ms');
  expect([first.code, first.err]).toEqual([
    1,
    expect.stringMatching(/^shoal kubernetes: the Kubernetes API at https:.* does not answer \(status 503\)\n$/),
  ]);
  await writeFile(file, 'eu-1b\n');
  const later = await run('zone', 'node-1', '--into', file, '--within', '10ms');
  expect([later.code, later.out]).toEqual([0, 'The node node-1 is in the zone eu-1b.\n']);
  expect(later.err).toContain('the zone of the last start is kept');
});

test('a DaemonSet is awaited until its status is of now and it is ready everywhere', async () => {
  const path = '/apis/apps/v1/namespaces/shoal-system/daemonsets/undo';
  const set = (observedGeneration: number, numberReady: number): void => {
    const status = { observedGeneration, desiredNumberScheduled: 3, numberReady };
    objects.set(path, { metadata: { name: 'undo', generation: 2 }, status } as never);
  };
  set(1, 3);
  const old = await run('await-daemonset', 'undo', '--within', '10ms');
  expect([old.code, old.err]).toEqual([1, expect.stringContaining('after 0.01 s undo is ready on 3 of 3 nodes')]);
  set(2, 2);
  setTimeout(() => set(2, 3), 200);
  expect(await run('await-daemonset', 'undo')).toEqual({ code: 0, out: 'undo is ready on 3 nodes.\n', err: '' });
  expect((await run('await-daemonset', 'other')).err).toContain('the DaemonSet other cannot be read (status 404');
});

test('outside Kubernetes, and used wrongly', async () => {
  const io = fakeIo({});
  expect(await runCli(['kubernetes', 'identity', 'x'], io)).toBe(1);
  expect(io.err()).toBe(
    'shoal kubernetes: there is no Kubernetes here (KUBERNETES_SERVICE_HOST is not set); run it in a pod\n',
  );
  expect((await run('zone', 'node-1', '--into', 'x', '--within', 'soon')).code).toBe(2);
  expect((await run('zone', 'node-1')).code).toBe(2);
  expect((await run()).code).toBe(2);
});
