import { expect, test } from 'vitest';
import { findRegistry } from '../check/registry-finding.ts';
import type { RegistryOptions } from './origin-options.ts';
import type { RateLimitReading } from './rate-limits.ts';
import { clientFor, openClient, REGISTRY, serve } from './scripted-server.test-support.ts';

const LOGIN = { username: 'me', password: 'secret' };
const BASIC = `Basic ${Buffer.from('me:secret').toString('base64')}`;
const check = (server: { url: string }, registry: RegistryOptions = {}) =>
  clientFor(server, { registry }).check(REGISTRY, { signal: AbortSignal.timeout(5_000), pullId: 'test' });

test('a registry that asks nobody is open, and is asked once, for itself', async () => {
  const server = await serve((_, response) => response.end('{}'));
  expect(await check(server, LOGIN)).toEqual({ url: `${server.url}/`, login: 'open' });
  expect(server.log).toEqual(['GET /v2/']);
});

test.each([
  [undefined, 'wanted'],
  [LOGIN, 'accepted'],
  [{ ...LOGIN, password: 'old' }, 'denied'],
])('Basic with %j is %s', async (login, expected) => {
  const server = await serve((request, response) => {
    if (request.headers.authorization === BASIC) return response.end('{}');
    return response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
  });
  expect((await check(server, login)).login).toBe(expected);
});

test.each([
  [undefined, true, 'anonymous'],
  [undefined, false, 'wanted'],
  [LOGIN, false, 'accepted'],
  [{ ...LOGIN, password: 'old' }, true, 'denied'],
])('a token server with %j, anonymous tokens %s: %s', async (login, givesToAnybody, expected) => {
  const server = await serve((request, response) => {
    if (request.url?.startsWith('/token') === true) {
      const { authorization } = request.headers;
      const isKnown = authorization === undefined ? givesToAnybody : authorization === BASIC;
      return response.writeHead(isKnown ? 200 : 401).end(JSON.stringify({ token: 't' }));
    }
    const challenge = `Bearer realm="${server.url}/token",service="s"`;
    return response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  expect((await check(server, login)).login).toBe(expected);
  // A token for no repository.
  expect(server.log).toEqual(['GET /v2/', 'GET /token?service=s']);
});

test('what is no registry is told by its status', async () => {
  const server = await serve((_, response) => response.writeHead(508).end());
  await expect(check(server)).rejects.toMatchObject({ code: 'unavailable', status: 508 });
});

test('a web page in its place is no registry', async () => {
  const server = await serve((_, response) => response.setHeader('content-type', 'text/html; charset=utf-8').end('hi'));
  await expect(check(server)).rejects.toMatchObject({ code: 'invalid' });
});

test('a registry that nobody named is not dialled', async () => {
  const origin = clientFor({ url: 'http://127.0.0.1:1' });
  const call = { signal: AbortSignal.timeout(5_000), pullId: 'test' };
  await expect(origin.check('10.0.0.1:5000', call)).rejects.toMatchObject({ code: 'blocked-host' });
});

test('one that does not answer is given up in time', async () => {
  const server = await serve(() => undefined);
  const finding = await findRegistry(clientFor(server), REGISTRY, new AbortController().signal, 200);
  expect(finding).toMatchObject({ outcome: 'timeout', message: `${REGISTRY} did not answer within 0.2 s` });
});

test('Docker Hub is asked what is left, by headers alone, which counts as no pull', async () => {
  const server = await serve((request, response) => {
    if (request.url?.startsWith('/token') === true) return response.end(JSON.stringify({ token: 't' }));
    if (request.method === 'HEAD' && request.headers.authorization === 'Bearer t') {
      return response.writeHead(200, { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' }).end();
    }
    return response.writeHead(401, { 'www-authenticate': `Bearer realm="${server.url}/token",service="s"` }).end();
  });
  const readings: [string, RateLimitReading][] = [];
  const origin = openClient(
    { registries: { 'docker.io': { url: server.url } } },
    { onRateLimit: (host, reading) => void readings.push([host, reading]) },
  );
  const call = { signal: AbortSignal.timeout(5_000), pullId: 'test' };
  expect((await origin.check('docker.io', call)).login).toBe('anonymous');
  expect(readings).toEqual([['docker.io', { remaining: 76, limit: 100 }]]);
  const manifests = server.log.filter((line) => line.includes('manifests'));
  expect(new Set(manifests)).toEqual(new Set(['HEAD /v2/ratelimitpreview/test/manifests/latest']));
});
