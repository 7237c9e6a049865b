import { createHash } from 'node:crypto';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushImage } from '../support/daemon/runnable-image.ts';
import { Stage } from './stage.ts';
import { describeSuite } from './suite.ts';

const MANIFEST_TYPES = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'];

// What the distribution specification (v1.1, https://github.com/opencontainers/distribution-spec) asks of the pulling side, case by
// case: a real agent in front of a real registry, each case on a miss and then on a hit, and by each way of naming the upstream.
describeSuite('skopeo', 'the distribution specification, pulling', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;

  beforeAll(async () => {
    stage = resources.use(
      await Stage.set({ seed: 'conformance', registryName: 'registry.example', repository: 'org/img', nodes: 2 }),
    );
  });
  afterAll(() => resources.disposeAsync());

  const ways: Record<string, (path: string) => [path: string, headers: Record<string, string>]> = {
    ns: (path) => [`/v2/org/img/${path}${path.includes('?') ? '&' : '?'}ns=registry.example`, {}],
    prefix: (path) => [`/v2/registry.example/org/img/${path}`, {}],
    header: (path) => [`/v2/org/img/${path}`, { 'oci-namespace': 'registry.example' }],
  };

  async function ask(
    method: 'GET' | 'HEAD',
    path: string,
    headers: Record<string, string> = {},
    way = 'ns',
    index = 0,
  ) {
    const [target, more] = ways[way]!(path);
    const { mirrorUrl } = stage.cluster.agents[index]!;
    const answer = await request(mirrorUrl + target, {
      method,
      headers: { accept: MANIFEST_TYPES.join(', '), ...more, ...headers },
    });
    return { status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) };
  }
  const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const codes = (body: Buffer) => JSON.parse(body.toString()).errors.map(({ code }: { code: string }) => code);
  /** A layer of a few MiB. */
  const layer = () => stage.image.layers.toSorted((a, b) => b.size - a.size)[0]!;

  test('end-1: /v2/ is 200', async () => {
    const { statusCode, body } = await request(`${stage.agent.mirrorUrl}/v2/`);
    await body.dump();
    expect(statusCode).toBe(200);
  });

  describe.each(Object.keys(ways))('named by %s', (way) => {
    test('end-3: a manifest by tag and by digest has its bytes, type, length and digest, and HEAD says the same', async () => {
      const { tag, index, manifest } = stage.image;
      for (const [reference, expected] of [
        [tag, index],
        [index.digest, index],
        [manifest.digest, manifest],
      ] as const) {
        const got = await ask('GET', `manifests/${reference}`, {}, way);
        expect([got.status, digestOf(got.body), got.headers['content-type']]).toEqual([
          200,
          expected.digest,
          expected.mediaType,
        ]);
        const head = await ask('HEAD', `manifests/${reference}`, {}, way);
        expect([head.status, head.body.length]).toEqual([200, 0]);
        for (const name of ['content-type', 'content-length', 'docker-content-digest']) {
          expect(head.headers[name], name).toBe(got.headers[name]);
        }
        expect(got.headers['content-length']).toBe(String(expected.size));
        expect(got.headers['docker-content-digest']).toBe(expected.digest);
      }
    });

    test('end-2: a blob has its bytes, length and digest, and HEAD says the same', async () => {
      for (const { digest, size } of stage.image.blobs) {
        const got = await ask('GET', `blobs/${digest}`, {}, way);
        expect([got.status, digestOf(got.body), got.headers['content-length']]).toEqual([200, digest, String(size)]);
        const head = await ask('HEAD', `blobs/${digest}`, {}, way);
        expect([head.status, head.headers['content-length'], head.headers['docker-content-digest']]).toEqual([
          200,
          String(size),
          digest,
        ]);
      }
    });

    test('what is not there is a 404 with an error that says so', async () => {
      const none = `sha256:${'0'.repeat(64)}`;
      for (const [path, code] of [
        [`blobs/${none}`, 'BLOB_UNKNOWN'],
        [`manifests/${none}`, 'MANIFEST_UNKNOWN'],
        ['manifests/none', 'MANIFEST_UNKNOWN'],
      ] as const) {
        const got = await ask('GET', path, {}, way);
        expect([path, got.status, codes(got.body)]).toEqual([path, 404, [code]]);
        expect((await ask('HEAD', path, {}, way)).status).toBe(404);
      }
    });

    test('end-8a, end-8b: tags are listed, and page by page', async () => {
      const got = await ask('GET', 'tags/list', {}, way);
      expect([got.status, JSON.parse(got.body.toString()).tags]).toEqual([200, [stage.image.tag]]);
      const none = await ask('GET', 'tags/list?n=0', {}, way);
      expect([200, 404]).toContain(none.status);
    });
  });

  // On the second agent, which has nothing yet: the first round is a miss, the second a hit.
  describe.each(['on a miss', 'on a hit'])('ranges %s', (round) => {
    test.each([
      ['500-1499', 500, 1500],
      ['500-', 500, undefined],
      ['-500', -500, undefined],
      ['0-', 0, undefined],
      ['0-0', 0, 1],
    ] as const)('bytes=%s is a 206 with exactly that', async (range, from, to) => {
      const { digest, size } = layer();
      const start = from < 0 ? size + from : from;
      const end = to ?? size;
      const got = await ask('GET', `blobs/${digest}`, { range: `bytes=${range}` }, 'ns', 1);
      expect([got.status, got.headers['content-range']]).toEqual([206, `bytes ${start}-${end - 1}/${size}`]);
      const whole = await ask('GET', `blobs/${digest}`, {}, 'ns', 0);
      expect(got.body.equals(whole.body.subarray(start, end))).toBe(true);
    });

    test('a range beyond the end is cut, one that begins there is a 416', async () => {
      const { digest, size } = layer();
      const cut = await ask('GET', `blobs/${digest}`, { range: `bytes=${size - 100}-${size + 100}` }, 'ns', 1);
      expect([cut.status, cut.body.length]).toEqual([206, 100]);
      for (const range of ['500-0', `${size}-`, `${size + 5_000}-${size + 10_000}`]) {
        const none = await ask('GET', `blobs/${digest}`, { range: `bytes=${range}` }, 'ns', 1);
        expect([range, none.status, none.headers['content-range']]).toEqual([range, 416, `bytes */${size}`]);
      }
    });

    test(`${round}: several ranges are answered whole`, async () => {
      const { digest } = layer();
      const got = await ask('GET', `blobs/${digest}`, { range: 'bytes=0-1,5-6' }, 'ns', 1);
      expect([got.status, digestOf(got.body)]).toEqual([200, digest]);
    });
  });

  test('writes are a 405, malformed names and digests a 400', async () => {
    for (const [method, path, status] of [
      ['POST', 'org/img/blobs/uploads/', 405],
      ['PUT', 'org/img/manifests/v1', 405],
      ['DELETE', 'org/img/manifests/v1', 405],
      ['GET', 'org/img/blobs/sha256:zz', 400],
      ['GET', 'Org/img/manifests/v1', 400],
    ] as const) {
      const answer = await request(`${stage.agent.mirrorUrl}/v2/${path}`, { method });
      await answer.body.dump();
      expect([method, path, answer.statusCode]).toEqual([method, path, status]);
    }
  });

  test('end-12a: referrers are an index, or a 404 where the registry knows none', async () => {
    const got = await ask('GET', `referrers/${stage.image.manifest.digest}`);
    expect([200, 404]).toContain(got.status);
  });

  test('a tag that is pushed anew is seen once it is no longer fresh, or at once when it is forgotten', async () => {
    await pushImage(stage.image, `${stage.registry.host}/org/img`);
    const { adminUrl } = stage.agent;
    const body = JSON.stringify({ image: `registry.example/org/img:${stage.image.tag}` });
    const told = await request(`${adminUrl}/v1/forget`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect([told.statusCode, await told.body.json()]).toEqual([
      200,
      { forgotten: `registry.example/org/img:${stage.image.tag}` },
    ]);
    await stage.startCount();
    expect((await ask('HEAD', `manifests/${stage.image.tag}`)).status).toBe(200);
    await stage.registry.settle();
    expect(
      stage.registry.requests.filter(({ target }) => target.endsWith(`/manifests/${stage.image.tag}`)),
    ).toHaveLength(1);
  });
});
