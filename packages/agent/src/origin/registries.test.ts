import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Digest, OCI_MANIFEST } from '@shoal/oci';
import { describe, expect, test } from 'vitest';
import type { RegistryOptions } from './origin-options.ts';
import { call, clientFor, collect, REPOSITORY, type ScriptedServer, serve } from './scripted-server.test-support.ts';

// One fake per registry, with what that registry is documented or was seen to do: how it challenges, where its blobs are, what it
// makes of HEAD and Range. Against each the client finds a tag without pulling it, reads the manifest, learns a blob's size,
// reads a range of it and the whole.

const BLOB = Buffer.from('the bytes of a layer, such as they are');
const MANIFEST = Buffer.from('{"schemaVersion":2}');
const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
const BASE = `/v2/${REPOSITORY.name}`;
const AWS = { username: 'AWS', password: 'token-of-twelve-hours' };

interface Fake {
  name: string;
  credentials?: RegistryOptions;
  /** Answers everything but what is common to all. */
  registry: (world: World) => (request: IncomingMessage, response: ServerResponse) => void;
  storage?: (request: IncomingMessage, response: ServerResponse) => void;
  /** What is to be seen in the end. */
  expected?: (world: World) => void;
}

interface World {
  registry: ScriptedServer;
  storage: ScriptedServer;
}

function ranged(request: IncomingMessage, response: ServerResponse, bytes: Buffer, honoured = true): void {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  if (first === undefined || !honoured) {
    response.writeHead(200, { 'content-length': bytes.length });
    response.end(request.method === 'HEAD' ? undefined : bytes);
    return;
  }
  const end = last === '' || last === undefined ? bytes.length - 1 : Math.min(Number(last), bytes.length - 1);
  const part = bytes.subarray(Number(first), end + 1);
  response.writeHead(206, { 'content-range': `bytes ${first}-${end}/${bytes.length}`, 'content-length': part.length });
  response.end(part);
}

function manifest(request: IncomingMessage, response: ServerResponse, headers: Record<string, string> = {}): void {
  const length = String(MANIFEST.length);
  response.writeHead(200, {
    'content-type': OCI_MANIFEST,
    'docker-content-digest': digestOf(MANIFEST),
    'content-length': length,
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : MANIFEST);
}

const isManifest = ({ url = '' }: IncomingMessage) => url.startsWith(`${BASE}/manifests/`);
const isBlob = ({ url = '' }: IncomingMessage) => url.startsWith(`${BASE}/blobs/`);

function tokens(realm: string, service: string, scope: string, token: string) {
  return {
    challenge: `Bearer realm="${realm}",service="${service}",scope="${scope}"`,
    /** True when the request was one for a token, or came without one; it is answered then. */
    answered(request: IncomingMessage, response: ServerResponse): boolean {
      if (request.url?.startsWith('/token')) {
        const query = new URL(request.url, realm).searchParams;
        const isRight = query.get('service') === service && query.getAll('scope').join(' ') === scope;
        response.writeHead(isRight ? 200 : 400).end(JSON.stringify({ token, access_token: token, expires_in: 300 }));
        return true;
      }
      if (request.headers.authorization === `Bearer ${token}`) return false;
      response.writeHead(401, { 'www-authenticate': this.challenge }).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
      return true;
    },
  };
}

/** An S3 of some kind: refuses whatever comes with Authorization. */
function bucket(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.authorization !== undefined) response.writeHead(400).end('<Error/>');
  else ranged(request, response, BLOB);
}

function withTokens(
  service: string,
  scope: string,
  status: number,
  more: { location?: string; headers?: Record<string, string> } = {},
): Fake['registry'] {
  return ({ registry, storage }) =>
    (request, response) => {
      const auth = tokens(`${registry.url}/token`, service, scope, 'granted');
      if (auth.answered(request, response)) return;
      if (isManifest(request)) manifest(request, response, more.headers);
      else if (isBlob(request))
        response.writeHead(status, { location: more.location ?? `${storage.url}/signed?sig=1` }).end();
      else ranged(request, response, BLOB);
    };
}

const pullScope = `repository:${REPOSITORY.name}:pull`;

const fakes: Fake[] = [
  {
    name: 'Docker Hub',
    registry: withTokens('registry.docker.io', pullScope, 307, {
      headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' },
    }),
    storage: bucket,
    expected: ({ registry }) => {
      const pulls = registry.log.filter((line) => line.startsWith(`GET ${BASE}/manifests/`));
      expect(pulls).toHaveLength(1);
    },
  },
  {
    name: 'ghcr.io, whose signed addresses serve once',
    registry: ({ registry, storage }) => {
      let signature = 0;
      return (request, response) => {
        const auth = tokens(`${registry.url}/token`, 'ghcr.io', pullScope, 'anonymous');
        if (auth.answered(request, response)) return;
        if (isManifest(request)) manifest(request, response);
        else response.writeHead(307, { location: `${storage.url}/signed?sig=${++signature}` }).end();
      };
    },
    storage: (() => {
      const used = new Set<string>();
      return (request: IncomingMessage, response: ServerResponse) => {
        const url = request.url ?? '';
        if (used.has(url)) response.writeHead(403).end('expired');
        else bucket(request, response);
        if (request.method === 'GET') used.add(url);
      };
    })(),
  },
  {
    name: 'registry.k8s.io, which redirects manifests, too',
    registry:
      ({ storage }) =>
      (request, response) =>
        void response.writeHead(307, { location: `${storage.url}${request.url}` }).end(),
    storage: (request, response) =>
      isManifest(request) ? manifest(request, response) : ranged(request, response, BLOB),
  },
  {
    name: 'ECR',
    credentials: AWS,
    registry:
      ({ storage }) =>
      (request, response) => {
        const login = `Basic ${Buffer.from(`${AWS.username}:${AWS.password}`).toString('base64')}`;
        if (request.headers.authorization !== login) {
          response
            .writeHead(401, {
              'www-authenticate':
                'Basic realm="https://123.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
            })
            .end();
        } else if (isManifest(request)) manifest(request, response);
        else response.writeHead(307, { location: `${storage.url}/signed` }).end();
      },
    storage: bucket,
  },
  {
    name: 'ECR public, which answers no HEAD of a blob',
    registry:
      ({ registry, storage }) =>
      (request, response) => {
        const auth = tokens(`${registry.url}/token`, 'public.ecr.aws', 'aws', 'granted');
        if (auth.answered(request, response)) return;
        if (isManifest(request)) manifest(request, response);
        else if (request.method === 'HEAD') response.writeHead(401, { 'www-authenticate': auth.challenge }).end();
        else response.writeHead(307, { location: `${storage.url}/signed` }).end();
      },
    storage: bucket,
  },
  {
    name: 'Artifact Registry, whose Location is relative',
    registry: withTokens('gcr.io', pullScope, 302, { location: '/artifacts-downloads/x' }),
  },
  {
    name: 'ACR, before a storage that refuses a forwarded login',
    registry: withTokens('acr.azurecr.io', pullScope, 307),
    storage: bucket,
  },
  {
    name: 'Harbor, on a miss of its proxy',
    credentials: { username: 'robot$ci', password: 'secret' },
    registry:
      ({ registry }) =>
      (request, response) => {
        const auth = tokens(`${registry.url}/token`, 'harbor-registry', pullScope, 'granted');
        if (auth.answered(request, response)) return;
        if (isManifest(request)) manifest(request, response);
        else if (request.method === 'HEAD') response.writeHead(404).end();
        else ranged(request, response, BLOB, false);
      },
  },
  {
    name: 'Aliyun, before OSS',
    registry: withTokens('registry.aliyuncs.com:cn-hangzhou:26842', pullScope, 307),
    storage: bucket,
  },
  {
    name: 'registry:2 by itself',
    registry: () => (request, response) =>
      isManifest(request) ? manifest(request, response) : ranged(request, response, BLOB),
  },
];

describe.each(fakes)('$name', ({ credentials, registry: script, storage: store, expected }) => {
  test('is read as any other', async () => {
    const storage = await serve(store ?? ((_, response) => response.writeHead(500).end()));
    const world = { storage } as World;
    let answer: ReturnType<Fake['registry']> | undefined;
    const registry = await serve((request, response) => {
      answer ??= script(world);
      answer(request, response);
    });
    world.registry = registry;
    const client = clientFor(registry, credentials === undefined ? {} : { registry: credentials });
    const resolved = await client.resolve(REPOSITORY, 'v1', OCI_MANIFEST, call());
    expect(resolved).toEqual({ digest: digestOf(MANIFEST), mediaType: OCI_MANIFEST, sizeBytes: MANIFEST.length });
    const { bytes } = await client.manifest(REPOSITORY, resolved.digest, OCI_MANIFEST, call());
    expect(bytes).toEqual(MANIFEST);
    const digest = digestOf(BLOB);
    expect(await client.stat(REPOSITORY, digest, call())).toEqual({ sizeBytes: BLOB.length });
    for (const range of [{ offset: 4, end: 9 }, { offset: 10 }, { offset: 0 }]) {
      const body = await client.blob(REPOSITORY, digest, range, call());
      const end = body.ranged ? (range.end ?? BLOB.length) : BLOB.length;
      expect(await collect(body.chunks)).toEqual(BLOB.subarray(body.offset, end));
      expect([body.offset, body.sizeBytes]).toEqual([body.ranged ? range.offset : 0, BLOB.length]);
    }
    for (const { headers } of storage.requests) expect(headers.authorization).toBeUndefined();
    expected?.(world);
  });
});

test('quay.io says 401 where others say 404, and that is what a client is told', async () => {
  const registry = await serve((request, response) => {
    const auth = tokens(`${registry.url}/token`, 'quay.io', pullScope, 'granted');
    if (!auth.answered(request, response)) response.writeHead(401, { 'www-authenticate': auth.challenge }).end();
  });
  const refused = clientFor(registry).resolve(REPOSITORY, 'nope', OCI_MANIFEST, call());
  await expect(refused).rejects.toMatchObject({
    code: 'unauthorized',
    challenge: [expect.stringContaining('quay.io')],
  });
});

test('registry:2 says 416 past the end, and answers a range of a manifest whole', async () => {
  const registry = await serve((request, response) => {
    if (isManifest(request)) manifest(request, response);
    else response.writeHead(416, { 'content-range': `bytes */${BLOB.length}` }).end();
  });
  const client = clientFor(registry);
  await expect(client.blob(REPOSITORY, digestOf(BLOB), { offset: 99 }, call())).rejects.toMatchObject({
    code: 'invalid',
  });
  expect((await client.manifest(REPOSITORY, 'v1', OCI_MANIFEST, call())).bytes).toEqual(MANIFEST);
});
