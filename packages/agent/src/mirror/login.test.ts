import { OCI_MANIFEST } from '@shoal/oci';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../access/fake-upstream.fixture.ts';
import { OriginError } from '../origin/origin-client.ts';
import { relayedChallenge } from './answer.ts';
import { type FakeWorld, fakeWorld } from './fake-sources.fixture.ts';
import { ask, type HttpAnswer } from './http-client.fixture.ts';
import { type Mirror, startMirror } from './mirror.ts';

// A registry that wants a login, in front of an agent that holds the image.
const layer = Buffer.from('a layer');
const image = Buffer.from(
  `{ "schemaVersion": 2, "config": { "digest": "${sha256('{}')}", "size": 2, "mediaType": "x/config" },
     "layers": [ { "digest": "${sha256(layer)}", "size": ${layer.length}, "mediaType": "x/layer" } ] }`,
);
const bearer = 'Bearer realm="https://auth.ghcr.io/token",service="ghcr.io",scope="repository:org/app:pull"';
const basic = 'Basic realm="registry"';
const repository = '/v2/ghcr.io/org/app';
const manifest = `${repository}/manifests/${sha256(image)}`;
const blob = `${repository}/blobs/${sha256(layer)}`;

let world: FakeWorld;
let mirror: Mirror;
let challenge: string[];
beforeEach(async () => {
  challenge = [bearer];
  world = fakeWorld();
  const { pulls, upstream } = world;
  const digest = pulls.add({ bytes: image });
  pulls.add({ bytes: layer });
  const resolved = { digest, mediaType: OCI_MANIFEST, sizeBytes: image.length };
  upstream.manifests.set('ghcr.io/org/app:v1', resolved);
  upstream.manifests.set(`ghcr.io/org/app@${digest}`, resolved);
  upstream.blobs.set(`ghcr.io/org/app@${sha256(layer)}`, layer.length);
  upstream.refuses = (asker) =>
    typeof asker !== 'string' && asker.header === 'Bearer good'
      ? undefined
      : new OriginError('unauthorized', 'no', { status: 401, challenge });
  mirror = await startMirror({ host: '127.0.0.1', port: 0, closeGraceMs: 50 }, world);
});
afterEach(() => mirror.close());

function get(path: string, authorization?: string, method = 'GET', headers = {}): Promise<HttpAnswer> {
  const login = authorization === undefined ? {} : { authorization };
  return ask(mirror.address, path, { method, headers: { ...headers, ...login } });
}

test('18: the registry’s challenge is passed on as it is, and the client’s Authorization goes up', async () => {
  const refused = await get(`${repository}/manifests/v1`);
  expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, bearer]);
  expect(JSON.parse(refused.body.toString()).errors[0].code).toBe('UNAUTHORIZED');
  const allowed = await get(`${repository}/manifests/v1`, 'Bearer good');
  expect([allowed.status, allowed.body.toString()]).toEqual([200, image.toString()]);
  expect(world.pulls.opened[0]?.source.asker).toMatchObject({ header: 'Bearer good' });
});

test('18: several challenges are passed on as several', async () => {
  challenge = [bearer, basic];
  const { headers } = await get(manifest);
  expect(headers['www-authenticate']).toBe(`${bearer}, ${basic}`);
});

test('18: the tags and referrers of a private repository want its login, too', async () => {
  for (const path of [`${repository}/tags/list`, `${repository}/referrers/${sha256(image)}`]) {
    const refused = await get(path);
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, bearer]);
    expect((await get(path, 'Bearer good')).status).toBe(200);
  }
});

test('19: whoever the registry refuses gets nothing of what is held here, whatever was asked before', async () => {
  await get(manifest, 'Bearer good');
  expect((await get(blob, 'Bearer good')).body.equals(layer)).toBe(true);
  for (const login of [undefined, 'Bearer bad', 'Basic Ym9iOmJvYg==', 'Negotiate abc']) {
    for (const path of [manifest, blob, `${repository}/manifests/v1`]) {
      for (const method of ['GET', 'HEAD']) {
        for (const headers of [{}, { range: 'bytes=0-0' }]) {
          const { status, body } = await get(path, login, method, headers);
          expect([path, status]).toEqual([path, 401]);
          expect(body.includes(layer) || body.includes(sha256(layer))).toBe(false);
        }
      }
    }
  }
});

test('19: whether something is held here makes no difference to whoever is refused, not even in what is looked at', async () => {
  await get(manifest, 'Bearer good');
  const missing = blob.replace(sha256(layer), sha256('held by nobody'));
  const looked = world.pulls.opened.length;
  for (const path of [blob, missing, manifest, manifest.replace(sha256(image), sha256('no image'))]) {
    for (const login of [undefined, 'Bearer bad']) {
      const asked = world.upstream.asked.length;
      expect((await get(path, login)).status).toBe(401);
      // Neither is the registry asked anew while its no still counts, whatever is asked for.
      expect(world.upstream.asked.length - asked).toBe(path === blob ? 1 : 0);
    }
  }
  expect(world.pulls.opened.length).toBe(looked);
});

test('19: the right to read a repository is no right to read what another one holds', async () => {
  world.upstream.refuses = (asker, key) =>
    typeof asker !== 'string' || key.includes('public')
      ? undefined
      : new OriginError('unauthorized', 'no', { challenge });
  world.upstream.manifests.set('ghcr.io/org/public:v1', {
    digest: sha256('other'),
    mediaType: OCI_MANIFEST,
    sizeBytes: 5,
  });
  await get(manifest, 'Bearer good');
  for (const login of [undefined, 'Bearer other']) {
    await get('/v2/ghcr.io/org/public/manifests/v1', login, 'HEAD');
    for (const object of [`blobs/${sha256(layer)}`, `manifests/${sha256(image)}`]) {
      expect((await get(`/v2/ghcr.io/org/public/${object}`, login)).status).toBe(404);
      expect((await get(`/v2/org/public/${object}?ns=ghcr.io`, login)).status).toBe(404);
    }
  }
});

test('20: a password does not travel in clear text between machines: Basic is passed on to local clients only', () => {
  const wants = (...values: string[]) => new OriginError('unauthorized', 'no', { challenge: values });
  const relayed = (error: Error, isLocal: boolean) => relayedChallenge(error, isLocal)?.headers['www-authenticate'];
  expect(relayed(wants(basic), true)).toEqual([basic]);
  expect(relayed(wants(basic), false)).toBeUndefined();
  expect(relayed(wants(bearer, basic), false)).toEqual([bearer]);
  expect(relayed(wants(`${bearer}, ${basic}`), false)).toBeUndefined();
});

test('20: without a challenge from the registry there is a 404, never a challenge of the mirror’s own', async () => {
  world.upstream.refuses = () => new OriginError('unauthorized', 'forbidden', { status: 403 });
  const { status, headers } = await get(manifest);
  expect([status, headers['www-authenticate']]).toEqual([404, undefined]);
});

test('25: a registry that cannot be asked is a 404', async () => {
  world.upstream.failure = new OriginError('unreachable', 'down');
  expect((await get(manifest, 'Bearer good')).status).toBe(404);
});

test('a login that the origin refuses in the middle of reading is asked for again', async () => {
  await get(manifest, 'Bearer good');
  const asked = world.upstream.asked.length;
  world.pulls.failure = new OriginError('unauthorized', 'expired', { status: 401, challenge });
  const refused = await get(blob, 'Bearer good');
  expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, bearer]);
  world.pulls.failure = undefined;
  expect((await get(blob, 'Bearer good')).status).toBe(200);
  expect(world.upstream.asked.length).toBeGreaterThan(asked);
});

test('no credential is ever logged', async () => {
  await get(manifest, 'Bearer good');
  await get(blob, 'Bearer secret-of-mine');
  await get(blob, 'Basic c2VjcmV0');
  expect(world.logged.join()).not.toMatch(/Bearer good|secret-of-mine|c2VjcmV0/);
});
