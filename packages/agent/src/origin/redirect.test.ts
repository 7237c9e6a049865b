import type { Digest } from '@shoal/oci';
import { expect, onTestFinished, test } from 'vitest';
import { type Asker, ClientAuthorization } from './asker.ts';
import { checkTarget, Endpoints } from './endpoint.ts';
import { call, clientFor, collect, REPOSITORY, serve } from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
const CREDENTIALS = { username: 'me', password: 'hunter2' };

test('16: Authorization goes to the registry and not to where it redirects', async () => {
  const storage = await serve((_, response) => response.end('bytes'));
  const registry = await serve((request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    } else {
      response.writeHead(307, { location: `${storage.url}/signed` }).end();
    }
  });
  const client = clientFor(registry, { registry: CREDENTIALS });
  const body = await client.blob(REPOSITORY, DIGEST, { offset: 1 }, call());
  await collect(body.chunks);
  expect(registry.requests[1]?.headers.authorization).toMatch(/^Basic /);
  const { headers } = storage.requests[0]!;
  expect(headers.authorization).toBeUndefined();
  expect(headers['x-request-id']).toBeUndefined();
  expect(headers.range).toBe('bytes=1-');
});

test('a relative Location on the same host keeps Authorization', async () => {
  const registry = await serve((request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    } else if (request.url === '/elsewhere') response.end('bytes');
    else response.writeHead(302, { location: '/elsewhere' }).end();
  });
  const client = clientFor(registry, { registry: CREDENTIALS });
  const body = await client.blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await collect(body.chunks)).toString()).toBe('bytes');
});

test.each([301, 302, 303, 307, 308])('status %i is followed', async (status) => {
  const registry = await serve((request, response) => {
    if (request.url === '/there') response.end('bytes');
    else response.writeHead(status, { location: '/there' }).end();
  });
  const body = await clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await collect(body.chunks)).toString()).toBe('bytes');
});

test('a loop of redirects ends', async () => {
  const registry = await serve((_, response) => response.writeHead(307, { location: '/again' }).end());
  await expect(clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, call())).rejects.toMatchObject({
    code: 'invalid',
  });
  expect(registry.log).toHaveLength(6);
});

test('17: a signed address that ran out is asked for once more', async () => {
  const storage = await serve((request, response) => {
    if (request.url === '/signed?n=1') response.writeHead(403).end('expired');
    else response.end('bytes');
  });
  let asked = 0;
  const registry = await serve((_, response) => {
    asked++;
    response.writeHead(307, { location: `${storage.url}/signed?n=${asked}` }).end();
  });
  const body = await clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, call());
  expect((await collect(body.chunks)).toString()).toBe('bytes');
  expect(asked).toBe(2);
});

test('a second 403 is final, and its error does not show the signature', async () => {
  const storage = await serve((_, response) => response.writeHead(403).end());
  const registry = await serve((_, response) =>
    response.writeHead(307, { location: `${storage.url}/signed?sig=hunter2` }).end(),
  );
  const failure = await clientFor(registry)
    .blob(REPOSITORY, DIGEST, { offset: 0 }, call())
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'unauthorized', status: 403 });
  expect(String(failure)).not.toContain('hunter2');
  expect(registry.log).toHaveLength(2);
});

test('an unconfigured registry may not redirect to private hosts, nor away from HTTPS', () => {
  const endpoints = new Endpoints({ registries: {}, dialMs: 1000, maxConnectionsPerRegistry: 1 });
  onTestFinished(() => endpoints.close());
  const endpoint = endpoints.find('ghcr.io');
  for (const target of ['https://169.254.169.254/latest', 'https://localhost/', 'http://cdn.example.com/x']) {
    expect(() => checkTarget(endpoint, new URL(target)), target).toThrow(
      expect.objectContaining({ code: 'blocked-host' }),
    );
  }
  expect(() => checkTarget(endpoint, new URL('https://cdn.example.com/x'))).not.toThrow();
});

test('17: a signed address serves the next ranges of its asker, until the storage refuses it', async () => {
  let signature = 0;
  const storage = await serve((request, response) => {
    const isValid = request.url === `/signed?n=${signature}` && request.headers.via === undefined;
    if (isValid) response.writeHead(206, { 'content-range': 'bytes 1-2/9' }).end('by');
    else response.writeHead(403).end();
  });
  const registry = await serve((_, response) => {
    signature++;
    response.writeHead(307, { location: `${storage.url}/signed?n=${signature}` }).end();
  });
  let nowMs = 0;
  const client = clientFor(registry, {}, { clock: () => nowMs });
  const read = async (asker: Asker = 'node') => {
    const { chunks } = await client.blob(REPOSITORY, DIGEST, { offset: 1, end: 3 }, { ...call(), asker });
    return (await collect(chunks)).toString();
  };
  for (let times = 0; times < 3; times++) expect(await read()).toBe('by');
  expect([signature, storage.log.length]).toEqual([1, 3]);
  // Whether it may be read is a question to the registry.
  await client.stat(REPOSITORY, DIGEST, call());
  expect(registry.log.slice(1)).toEqual([`HEAD /v2/team/app/blobs/${DIGEST}`, `GET /v2/team/app/blobs/${DIGEST}`]);
  signature = 1;
  await read(ClientAuthorization.from('Bearer other'));
  expect(signature).toBe(2);
  expect(await read()).toBe('by');
  expect(signature).toBe(3);
  nowMs += 4 * 60_000;
  await read();
  expect(signature).toBe(4);
});

test('17: a storage that fails is forgotten, and the registry asked at once', async () => {
  const storage = await serve((_, response) => {
    if (storage.log.length === 2) response.destroy();
    else response.writeHead(206, { 'content-range': 'bytes 1-2/9' }).end('by');
  });
  const registry = await serve((_, response) => response.writeHead(307, { location: `${storage.url}/signed` }).end());
  const client = clientFor(registry);
  const open = async () => collect((await client.blob(REPOSITORY, DIGEST, { offset: 1, end: 3 }, call())).chunks);
  for (let times = 0; times < 3; times++) expect((await open()).toString()).toBe('by');
  expect([registry.log.length, storage.log.length]).toEqual([2, 4]);
});
