import type { Digest } from '@shoal/oci';
import { expect, test } from 'vitest';
import {
  call,
  clientFor,
  collect,
  REPOSITORY,
  type Script,
  type ScriptedServer,
  serve,
} from './scripted-server.test-support.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;
const CREDENTIALS = { username: 'me', password: 'hunter2' };
const BASIC = `Basic ${Buffer.from('me:hunter2').toString('base64')}`;

/** A registry that wants the newest token of its own token server; `grant` gives the n-th answer, from 1. */
async function tokenRegistry(
  grant: (n: number) => object = (n) => ({ token: `t${n}`, expires_in: 300 }),
  challenge?: (url: string) => string,
): Promise<ScriptedServer & { granted: () => number; revoke: () => void }> {
  let granted = 0;
  let valid = '';
  const script: Script = (request, response) => {
    const url = new URL(request.url ?? '', server.url);
    if (url.pathname === '/token') {
      granted++;
      const answer = grant(granted) as { token?: string; access_token?: string };
      valid = `Bearer ${answer.token ?? answer.access_token}`;
      response.end(JSON.stringify(answer));
    } else if (request.headers.authorization === valid) {
      response.end('bytes');
    } else {
      const asked =
        challenge?.(server.url) ?? `Bearer realm="${server.url}/token",service="s",scope="repository:x:pull"`;
      response.writeHead(401, { 'www-authenticate': asked }).end('{}');
    }
  };
  const server = await serve(script);
  return Object.assign(server, { granted: () => granted, revoke: () => (valid = 'none') });
}

async function read(client: ReturnType<typeof clientFor>, name: string = REPOSITORY.name): Promise<string> {
  const body = await client.blob({ ...REPOSITORY, name }, DIGEST, { offset: 0 }, call());
  return (await collect(body.chunks)).toString();
}

test('an anonymous token is fetched with service and scope', async () => {
  const registry = await tokenRegistry();
  expect(await read(clientFor(registry))).toBe('bytes');
  const asked = registry.requests[1]!;
  expect(asked.url).toBe('/token?service=s&scope=repository%3Ax%3Apull');
  expect(asked.headers.authorization).toBeUndefined();
});

test('the credentials go to the token server, the token to the registry', async () => {
  const registry = await tokenRegistry();
  expect(await read(clientFor(registry, { registry: CREDENTIALS }))).toBe('bytes');
  expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, BASIC, 'Bearer t1']);
});

test('access_token is a token too', async () => {
  const registry = await tokenRegistry((n) => ({ access_token: `t${n}` }));
  expect(await read(clientFor(registry))).toBe('bytes');
});

test('a token is used again without asking', async () => {
  const registry = await tokenRegistry();
  const client = clientFor(registry);
  await read(client);
  await read(client);
  expect(registry.granted()).toBe(1);
  expect(registry.log).toHaveLength(4);
});

test('many requests at once fetch one token', async () => {
  const registry = await tokenRegistry();
  const client = clientFor(registry);
  expect(await Promise.all(Array.from({ length: 8 }, () => read(client)))).toEqual(Array(8).fill('bytes'));
  expect(registry.granted()).toBe(1);
});

test('a token is renewed before it ends, in the background', async () => {
  let nowMs = 1_000_000;
  const registry = await tokenRegistry((n) => ({ token: n === 1 ? 't' : 't', expires_in: 100 }));
  const client = clientFor(registry, {}, { clock: () => nowMs });
  await read(client);
  nowMs += 74_000;
  await read(client);
  expect(registry.granted()).toBe(1);
  nowMs += 2_000;
  await read(client);
  await expect.poll(() => registry.granted()).toBe(2);
});

test('without expires_in a token lasts a minute', async () => {
  let nowMs = 1_000_000;
  const registry = await tokenRegistry((n) => ({ token: `t${n}` }));
  const client = clientFor(registry, {}, { clock: () => nowMs });
  await read(client);
  nowMs += 61_000;
  await read(client);
  expect(registry.granted()).toBe(2);
  // The old token was not tried first: token, then blob.
  expect(registry.log.slice(3)).toEqual([expect.stringContaining('/token'), expect.stringContaining('/blobs/')]);
});

test('a token refused in mid-life is replaced once', async () => {
  const registry = await tokenRegistry();
  const client = clientFor(registry);
  await read(client);
  registry.revoke();
  expect(await read(client)).toBe('bytes');
  expect(registry.granted()).toBe(2);
});

test('a token that is refused at once is not fetched for ever', async () => {
  const registry = await serve((request, response) => {
    if (request.url?.startsWith('/token') === true) response.end('{"token":"useless"}');
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
  });
  await expect(read(clientFor(registry))).rejects.toMatchObject({ code: 'unauthorized', status: 401 });
  expect(registry.log).toHaveLength(3);
});

test('Bearer is picked over Basic', async () => {
  const registry = await tokenRegistry(undefined, (url) => `Basic realm="b", Bearer realm="${url}/token",service="s"`);
  expect(await read(clientFor(registry, { registry: CREDENTIALS }))).toBe('bytes');
  expect(registry.requests[2]?.headers.authorization).toBe('Bearer t1');
});

test('a challenge without scope is answered for the repository', async () => {
  const registry = await tokenRegistry(undefined, (url) => `Bearer realm="${url}/token"`);
  await read(clientFor(registry));
  expect(registry.log[1]).toBe('GET /token?scope=repository%3Ateam%2Fapp%3Apull');
});

test('Basic is sent at once after the first time', async () => {
  const registry = await serve((request, response) => {
    if (request.headers.authorization === BASIC) response.end('bytes');
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
  });
  const client = clientFor(registry, { registry: CREDENTIALS });
  expect(await read(client)).toBe('bytes');
  expect(await read(client)).toBe('bytes');
  expect(registry.log).toHaveLength(3);
});

test('Basic without credentials is unauthorized', async () => {
  const registry = await serve((_, response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end(),
  );
  await expect(read(clientFor(registry))).rejects.toMatchObject({ code: 'unauthorized' });
  expect(registry.log).toHaveLength(1);
});

test('tokens of two scopes are kept apart', async () => {
  const registry = await serve((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    const name = url.pathname.split('/')[2];
    if (url.pathname === '/token') response.end(JSON.stringify({ token: url.searchParams.get('scope') }));
    else if (request.headers.authorization === `Bearer ${name}`) response.end(name);
    else {
      const realm = `http://${request.headers.host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",scope="${name}"` }).end();
    }
  });
  const client = clientFor(registry);
  expect([await read(client, 'one'), await read(client, 'two'), await read(client, 'one')]).toEqual([
    'one',
    'two',
    'one',
  ]);
});

test.each([
  [401, 'unauthorized'],
  [429, 'rate-limited'],
  [503, 'unavailable'],
])('a token server that answers %i makes the call %s', async (status, code) => {
  const registry = await serve((request, response) => {
    if (request.url?.startsWith('/token') === true) response.writeHead(status, { 'retry-after': '7' }).end();
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
  });
  const failure = await read(clientFor(registry, { registry: CREDENTIALS })).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code, status });
  expect(JSON.stringify(failure) + String(failure)).not.toContain('hunter2');
});

test.each(['not json t0ken', '{}', '{"token":""}', '{"token":"a\\r\\nb: c"}', '{"token":7}'])(
  'the token answer %s is invalid and is not quoted',
  async (answer) => {
    const registry = await serve((request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(answer);
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
    });
    const failure = await read(clientFor(registry)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'invalid' });
    expect(String(failure) + String((failure as Error).cause)).not.toContain('t0ken');
  },
);

test('one caller that gives up does not spoil the token for another', async () => {
  const held = Promise.withResolvers<void>();
  const registry = await serve((request, response) => {
    if (request.url?.startsWith('/token') === true) void held.promise.then(() => response.end('{"token":"t"}'));
    else if (request.headers.authorization === 'Bearer t') response.end('bytes');
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
  });
  const client = clientFor(registry);
  const hasty = new AbortController();
  const first = client.blob(REPOSITORY, DIGEST, { offset: 0 }, call(hasty.signal));
  const second = read(client);
  await expect.poll(() => registry.log.filter((line) => line.includes('/token')).length).toBe(1);
  hasty.abort();
  await expect(first).rejects.toMatchObject({ code: 'cancelled' });
  held.resolve();
  expect(await second).toBe('bytes');
});
