import type { Digest } from '@shoal/oci';
import { expect, test } from 'vitest';
import { type Asker, ClientAuthorization } from './asker.ts';
import { call, clientFor, collect, REPOSITORY, type ScriptedServer, serve } from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
const CREDENTIALS = { username: 'node', password: 'hunter2' };
const NODE = `Basic ${Buffer.from('node:hunter2').toString('base64')}`;
const client = ClientAuthorization.from('Bearer client-token')!;

/** A registry that lets in who comes with the node's token or the client's, and a token server that knows the node. */
async function privateRegistry(): Promise<ScriptedServer & { challenge: string }> {
  const server = await serve((request, response) => {
    const { authorization } = request.headers;
    if (request.url?.startsWith('/token')) {
      response.end(JSON.stringify({ token: authorization === NODE ? 'node-token' : 'anonymous-token' }));
    } else if (authorization === 'Bearer node-token' || authorization === client.header) {
      if (request.url?.includes('/blobs/')) response.writeHead(307, { location: `${storage.url}/signed` }).end();
      else response.end('[]');
    } else response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  const storage = await serve((request, response) => {
    response.end(request.headers.authorization === undefined ? 'bytes' : 'leaked');
  });
  const challenge = `Bearer realm="${server.url}/token",service="s"`;
  return Object.assign(server, { challenge });
}

const as = (asker: Asker) => ({ ...call(), asker });
const authorizations = ({ requests }: ScriptedServer) => requests.map(({ headers }) => headers.authorization);

test('18: a client’s own Authorization goes up unchanged, and no challenge is answered for it', async () => {
  const registry = await privateRegistry();
  const origin = clientFor(registry, { registry: CREDENTIALS });
  expect((await origin.relay(REPOSITORY, 'tags/list', as(client))).status).toBe(200);
  const stranger = ClientAuthorization.from('Bearer stranger')!;
  const refused = origin.relay(REPOSITORY, 'tags/list', as(stranger));
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized', status: 401, challenge: [registry.challenge] });
  expect(authorizations(registry)).toEqual([client.header, stranger.header]);
});

test('16: a client’s Authorization does not follow a redirect to another host', async () => {
  const origin = clientFor(await privateRegistry());
  const { chunks } = await origin.blob(REPOSITORY, DIGEST, { offset: 0 }, as(client));
  expect((await collect(chunks)).toString()).toBe('bytes');
});

test('33: tokens of the node and of nobody in particular are kept apart', async () => {
  const registry = await privateRegistry();
  const origin = clientFor(registry, { registry: CREDENTIALS });
  for (let round = 0; round < 2; round++) {
    expect((await origin.relay(REPOSITORY, 'tags/list', as('node'))).status).toBe(200);
    await expect(origin.relay(REPOSITORY, 'tags/list', as('anonymous'))).rejects.toMatchObject({
      code: 'unauthorized',
    });
  }
  const tokens = registry.requests.filter(({ url }) => url?.startsWith('/token'));
  expect(tokens.map(({ headers }) => headers.authorization)).toEqual([NODE, undefined, undefined]);
});

test('18: the first challenge is what a refused asker is told, whatever the token server says', async () => {
  const challenge = (url: string) => `Bearer realm="${url}/token",service="s",scope="repository:team/app:pull"`;
  const registry = await serve((request, response) => {
    if (request.url?.startsWith('/token')) response.writeHead(403).end('{}');
    else response.writeHead(401, { 'www-authenticate': challenge(registry.url) }).end();
  });
  const refused = clientFor(registry).relay(REPOSITORY, 'tags/list', as('anonymous'));
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized', challenge: [challenge(registry.url)] });
});

test('a storage server’s challenge is nobody’s business', async () => {
  const storage = await serve((_, response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
  );
  const registry = await serve((_, response) => response.writeHead(307, { location: `${storage.url}/signed` }).end());
  const refused = clientFor(registry).blob(REPOSITORY, DIGEST, { offset: 0 }, as(client));
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized', challenge: undefined });
  expect(authorizations(storage)).toEqual([undefined]);
});

test('18: a token server that refuses strangers is no reason to keep back the challenge, the second time either', async () => {
  const registry = await serve((request, response) => {
    if (request.url?.startsWith('/token')) response.writeHead(401).end('{}');
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token",service="s"` }).end();
  });
  const origin = clientFor(registry);
  for (let times = 0; times < 3; times++) {
    const refused = origin.relay(REPOSITORY, 'tags/list', as('anonymous'));
    await expect(refused).rejects.toMatchObject({ challenge: [`Bearer realm="${registry.url}/token",service="s"`] });
  }
});

test.each(['token server', 'registry'])(
  'a node whose login the %s refuses reads what is public without it',
  async (who) => {
    const registry = await serve((request, response) => {
      const { authorization } = request.headers;
      if (request.url?.startsWith('/token')) {
        if (authorization !== undefined && who === 'token server') response.writeHead(401).end('{}');
        else response.end(JSON.stringify({ token: authorization === undefined ? 'anonymous' : 'expired' }));
      } else if (authorization === 'Bearer anonymous') response.end('[]');
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${registry.url}/token",service="s"` }).end();
    });
    const origin = clientFor(registry, { registry: CREDENTIALS });
    for (let times = 0; times < 2; times++) {
      expect((await origin.relay(REPOSITORY, 'tags/list', as('node'))).status).toBe(200);
    }
  },
);

test('20: that the node’s own login is refused is no challenge for its clients', async () => {
  const registry = await serve((_, response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
  );
  const refused = clientFor(registry, { registry: CREDENTIALS }).relay(REPOSITORY, 'tags/list', as('node'));
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized', challenge: undefined });
});
