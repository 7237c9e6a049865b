import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { AllowList } from './allow-list.ts';
import { createConnector } from './connector.ts';
import { Endpoints, repositoryUrl } from './endpoint.ts';
import type { RegistryOptions } from './origin-options.ts';
import { call, clientFor, collect, openClient, REPOSITORY, serve } from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Parameters<ReturnType<typeof openClient>['blob']>[1];

function endpoints(registries: Record<string, RegistryOptions> = {}): Endpoints {
  const opened = new Endpoints({ registries, dialMs: 1000, maxConnectionsPerRegistry: 2 });
  onTestFinished(() => opened.close());
  return opened;
}

test('Docker Hub is reached at its API host', () => {
  expect(endpoints().find('docker.io').baseUrl.href).toBe('https://registry-1.docker.io/');
});

test('an unconfigured registry is reached over HTTPS', () => {
  expect(endpoints().find('ghcr.io').baseUrl.href).toBe('https://ghcr.io/');
  expect(endpoints().find('example.com:8443').baseUrl.href).toBe('https://example.com:8443/');
});

test('a configured address replaces the usual one, path included', () => {
  const found = endpoints({ 'docker.io': { url: 'http://127.0.0.1:5000/hub/' } }).find('docker.io');
  expect(repositoryUrl(found, 'library/alpine', 'manifests/3').href).toBe(
    'http://127.0.0.1:5000/hub/v2/library/alpine/manifests/3',
  );
});

test('a loopback registry configured by name is plain HTTP', () => {
  expect(endpoints({ '127.0.0.1:5000': {} }).find('127.0.0.1:5000').baseUrl.href).toBe('http://127.0.0.1:5000/');
});

test('21: with a list of allowed registries, others are not dialled but when configured by name', () => {
  const allow = new AllowList(['ghcr.io', '10.0.0.1']);
  const opened = new Endpoints({ registries: { 'my.io': {} }, dialMs: 1000, maxConnectionsPerRegistry: 2, allow });
  onTestFinished(() => opened.close());
  expect(['ghcr.io', 'my.io', 'docker.io', '10.0.0.1'].map((host) => opened.allowed(host))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test('hosts that are not public are refused unless configured', () => {
  const opened = endpoints({ '10.0.0.1:5000': {} });
  expect(opened.allowed('10.0.0.1:5000')).toBe(true);
  for (const host of ['10.0.0.1', '10.0.0.2:5000', 'localhost:5000', '127.1', '169.254.169.254', '[::1]:5000', 'reg']) {
    expect(opened.allowed(host), host).toBe(false);
  }
  expect(() => opened.find('localhost')).toThrow(expect.objectContaining({ code: 'blocked-host' }));
});

test.each(['../../../admin', '%2e%2e/%2e%2e/x/manifests/a', '..\\..\\..\\x', 'manifests/a#b'])(
  'the path %s does not leave the repository',
  (path) => {
    expect(() => repositoryUrl(endpoints().find('ghcr.io'), 'a/b', path)).toThrow(
      expect.objectContaining({ code: 'invalid' }),
    );
  },
);

test('an address with credentials inside is refused without repeating them', () => {
  let message = '';
  try {
    endpoints({ 'r.example': { url: 'https://me:hunter2@r.example' } });
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain('r.example');
  expect(message).not.toContain('hunter2');
});

test('a name that resolves to loopback is not dialled', async () => {
  let connections = 0;
  const server = createServer().on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const connect = createConnector({ dialMs: 1000, publicOnly: true });
  for (const hostname of ['localhost', '127.0.0.1', '::1']) {
    const outcome = await new Promise((resolve) =>
      connect({ hostname, host: hostname, protocol: 'http:', port: String(port) }, (...[error]) => resolve(error)),
    );
    expect(outcome, hostname).toMatchObject({ code: 'blocked-host' });
  }
  expect(connections).toBe(0);
});

test('an unconfigured registry never leads to loopback', async () => {
  const client = openClient({});
  await expect(
    client.blob({ registry: '127.0.0.1:5000', name: 'a/b' }, DIGEST, { offset: 0 }, call()),
  ).rejects.toMatchObject({ code: 'blocked-host' });
});

test('a configured registry may redirect to another private host', async () => {
  const storage = await serve((_, response) => response.end('bytes'));
  const registry = await serve((_, response) => response.writeHead(307, { location: `${storage.url}/s?sig=1` }).end());
  const body = await clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await collect(body.chunks)).toString()).toBe('bytes');
});
