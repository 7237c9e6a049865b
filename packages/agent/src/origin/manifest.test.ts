import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { type Digest, MAX_MANIFEST_BYTES, OCI_MANIFEST } from '@shoal/oci';
import { expect, test } from 'vitest';
import { call, clientFor, REPOSITORY, serve } from './scripted-server.test-support.ts';

const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [] }));
const DIGEST = digestOf(MANIFEST);
const OTHER = `sha256:${'b'.repeat(64)}` as Digest;
const WHOLE = { 'content-type': OCI_MANIFEST, 'content-length': MANIFEST.length, 'docker-content-digest': DIGEST };

function digestOf(bytes: Uint8Array | string, algorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

function without(name: keyof typeof WHOLE): Record<string, string | number> {
  return Object.fromEntries(Object.entries(WHOLE).filter(([key]) => key !== name));
}

/** `onHead` answers HEAD; GET gives the manifest. */
function registry(onHead: (response: ServerResponse) => void) {
  return serve((request, response) => {
    if (request.method === 'HEAD') onHead(response);
    else response.writeHead(200, WHOLE).end(MANIFEST);
  });
}

test('a tag is resolved by HEAD alone', async () => {
  const server = await registry((response) => response.writeHead(200, WHOLE).end());
  expect(await clientFor(server).resolve(REPOSITORY, 'v1', 'a/b', call())).toEqual({
    digest: DIGEST,
    mediaType: OCI_MANIFEST,
    sizeBytes: MANIFEST.length,
  });
  expect(server.log).toEqual(['HEAD /v2/team/app/manifests/v1']);
  expect(server.requests[0]?.headers.accept).toBe('a/b');
});

test.each([
  ['lacks the digest', (response: ServerResponse) => response.writeHead(200, without('docker-content-digest')).end()],
  ['lacks the type', (response: ServerResponse) => response.writeHead(200, without('content-type')).end()],
  ['has length 0', (response: ServerResponse) => response.writeHead(200, { ...WHOLE, 'content-length': 0 }).end()],
  ['is refused with 401', (response: ServerResponse) => response.writeHead(401).end()],
  ['is refused with 405', (response: ServerResponse) => response.writeHead(405).end()],
  ['fails with 500', (response: ServerResponse) => response.writeHead(500).end()],
])('where HEAD %s, GET tells', async (_, onHead) => {
  const server = await registry(onHead);
  expect(await clientFor(server).resolve(REPOSITORY, 'v1', '', call())).toMatchObject({
    digest: DIGEST,
    sizeBytes: MANIFEST.length,
  });
  expect(server.log.map((line) => line.split(' ')[0])).toEqual(['HEAD', 'GET']);
});

test('by digest, a HEAD without a digest is enough', async () => {
  const server = await registry((response) => response.writeHead(200, without('docker-content-digest')).end());
  expect((await clientFor(server).resolve(REPOSITORY, DIGEST, '', call())).digest).toBe(DIGEST);
  expect(server.log).toHaveLength(1);
});

test.each([
  [404, 'not-found'],
  [429, 'rate-limited'],
])('HEAD %i is final', async (status, code) => {
  const server = await registry((response) => response.writeHead(status).end());
  await expect(clientFor(server).resolve(REPOSITORY, 'v1', '', call())).rejects.toMatchObject({ code });
  expect(server.log).toHaveLength(1);
});

test('HEAD that names another digest than was asked for is invalid', async () => {
  const server = await registry((response) =>
    response.writeHead(200, { ...WHOLE, 'docker-content-digest': OTHER }).end(),
  );
  await expect(clientFor(server).resolve(REPOSITORY, DIGEST, '', call())).rejects.toMatchObject({ code: 'invalid' });
});

test('a manifest is read with its bytes unchanged', async () => {
  const server = await registry(() => {});
  const manifest = await clientFor(server).manifest(REPOSITORY, 'v1', '', call());
  expect(manifest).toEqual({ digest: DIGEST, mediaType: OCI_MANIFEST, sizeBytes: MANIFEST.length, bytes: MANIFEST });
});

test('without Docker-Content-Digest the digest is computed, and the type found', async () => {
  const server = await serve((_, response) => response.end(MANIFEST));
  expect(await clientFor(server).manifest(REPOSITORY, 'v1', '', call())).toMatchObject({
    digest: DIGEST,
    mediaType: OCI_MANIFEST,
  });
});

test('a manifest that is not its digest is invalid, by digest and by header', async () => {
  const byDigest = await serve((_, response) => response.end(MANIFEST));
  await expect(clientFor(byDigest).manifest(REPOSITORY, OTHER, '', call())).rejects.toMatchObject({ code: 'invalid' });
  const byHeader = await serve((_, response) =>
    response.writeHead(200, { 'docker-content-digest': OTHER }).end(MANIFEST),
  );
  await expect(clientFor(byHeader).manifest(REPOSITORY, 'v1', '', call())).rejects.toMatchObject({ code: 'invalid' });
});

test('a sha512 digest is checked as such, whatever the header says in sha256', async () => {
  const server = await registry(() => {});
  const sha512 = digestOf(MANIFEST, 'sha512');
  expect((await clientFor(server).manifest(REPOSITORY, sha512, '', call())).digest).toBe(sha512);
  await expect(clientFor(server).manifest(REPOSITORY, digestOf('other', 'sha512'), '', call())).rejects.toMatchObject({
    code: 'invalid',
  });
});

test('a manifest that never ends is given up', async () => {
  const server = await serve((_, response) => {
    const block = Buffer.alloc(256 * 1024);
    const send = (error?: Error | null): void => void (error ? undefined : response.write(block, send));
    send();
  });
  await expect(clientFor(server).manifest(REPOSITORY, 'v1', '', call())).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining(String(MAX_MANIFEST_BYTES)),
  });
});

test('stat reads the size from HEAD', async () => {
  const server = await serve((_, response) => response.writeHead(200, { 'content-length': 5000 }).end());
  expect(await clientFor(server).stat(REPOSITORY, DIGEST, call())).toEqual({ sizeBytes: 5000 });
  expect(server.log).toEqual([`HEAD /v2/team/app/blobs/${DIGEST}`]);
});

test.each([401, 403, 404, 405, 500])('30: after HEAD %i, stat reads the size from the first byte', async (status) => {
  const server = await serve((request, response) => {
    if (request.method === 'HEAD') response.writeHead(status).end();
    else response.writeHead(206, { 'content-range': 'bytes 0-0/5000' }).end('x');
  });
  expect(await clientFor(server).stat(REPOSITORY, DIGEST, call())).toEqual({ sizeBytes: 5000 });
  expect(server.requests[1]?.headers.range).toBe('bytes=0-0');
});

test('stat of a blob that is not there', async () => {
  const server = await serve((_, response) => response.writeHead(404).end());
  await expect(clientFor(server).stat(REPOSITORY, DIGEST, call())).rejects.toMatchObject({ code: 'not-found' });
});

test('relay passes status, body and the headers that matter', async () => {
  const link = '</v2/team/app/tags/list?n=1&last=a>; rel="next"';
  const server = await serve((_, response) =>
    response.writeHead(200, { 'content-type': 'application/json', link, 'set-cookie': 'a=b' }).end('{"tags":[]}'),
  );
  const relayed = await clientFor(server).relay(REPOSITORY, 'tags/list?n=1', { ...call(), accept: 'application/json' });
  expect(relayed).toEqual({
    status: 200,
    headers: { 'content-type': 'application/json', link },
    body: Buffer.from('{"tags":[]}'),
  });
  expect(server.log).toEqual(['GET /v2/team/app/tags/list?n=1']);
});

test('relay passes a refusal as it is', async () => {
  const server = await serve((_, response) => response.writeHead(404).end('{"errors":[]}'));
  expect(await clientFor(server).relay(REPOSITORY, `referrers/${DIGEST}`, call())).toMatchObject({ status: 404 });
});
