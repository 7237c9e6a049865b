/**
 * Somebody who knows the digests of a private image runs a registry of his own, which the agents may dial, and names them
 * there. What the agents hold of the private image stays theirs, and what he sends spoils nothing.
 */
import { request } from 'undici';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Content, FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
const credentials = { username: 'owner', password: 'secret' };
const authorization = `Basic ${Buffer.from('owner:secret').toString('base64')}`;
const evilName = 'evil.test';
const path = (...parts: string[]) => `/v2/org/img/${parts.join('/')}`;

describeWith('skopeo', 'a registry that names the blobs of another one', () => {
  const resources = new AsyncDisposableStack();
  let secret: ImageFixture;
  let origin: FaultOrigin;
  let evil: FaultOrigin;
  let cluster: ShoalCluster;

  beforeAll(async () => {
    secret = await buildImage({ seed: 'secret', repository: 'org/img', layers: [5 * MiB, 40_000] });
    origin = resources.use(await FaultOrigin.start({ auth: { type: 'basic', ...credentials } }));
    origin.add(secret);
    evil = resources.use(await FaultOrigin.start());
    for (const { bytes, mediaType } of secret.manifests) evil.addManifest('org/img', bytes, mediaType, secret.tag);
    cluster = resources.use(
      await ShoalCluster.start({ origin, nodes: 3, agentArguments: () => ['--registry', `${evilName}=${evil.url}`] }),
    );
    for (const index of [0, 1]) await readAsOwner(index);
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => {
    evil.clearFaults();
    evil.resetStats();
    origin.resetStats();
  });

  async function get(index: number, of: string, registry: string, headers: Record<string, string> = {}) {
    const { statusCode, body } = await request(`${cluster.agent(index).mirrorUrl}${of}?ns=${registry}`, {
      headers,
      signal: AbortSignal.timeout(20_000),
    });
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of body) chunks.push(chunk);
    } catch {
      // Cut short: what came until then counts.
    }
    return { statusCode, bytes: Buffer.concat(chunks) };
  }

  async function readAsOwner(index: number): Promise<void> {
    const pulled = [path('manifests', secret.tag), ...secret.blobs.map(({ digest }) => path('blobs', digest))];
    for (const of of pulled) expect((await get(index, of, registryName, { authorization })).statusCode, of).toBe(200);
  }

  /** What the evil registry sends for the private blobs. */
  function evilHas(contentOf: (content: Content) => Content): void {
    for (const { content } of secret.blobs) evil.addBlob('org/img', contentOf(content));
  }

  /** Whoever asks any node under the evil name, for a whole blob or a part. */
  async function expectNothing(): Promise<void> {
    const asked = [0, 1, 2].map(async (index) => {
      expect((await get(index, path('manifests', secret.tag), evilName)).statusCode).toBe(200);
      const starts = secret.blobs.flatMap(({ content }) => [0, 100].map((start) => ({ content, start })));
      const answers = starts.map(async ({ content, start }) => {
        const range = start === 0 ? {} : { range: `bytes=${start}-299` };
        const { bytes } = await get(index, path('blobs', content.digest), evilName, range);
        expect(bytes.includes(content.read(start, 32)), `${index} ${content.digest} ${start}`).toBe(false);
      });
      await Promise.all(answers);
    });
    await Promise.all(asked);
    expect(origin.requests).toEqual([]);
  }

  test('that has none of them gets none of them out', async () => {
    await expectNothing();
  });

  test('that sends other bytes of the same size gets none of them out, and bars nobody', async () => {
    evilHas((content) => ({ ...content, read: (_offset, length) => Buffer.alloc(length) }));
    await expectNothing();
    // The third node wants the real one, which the others hold.
    await readAsOwner(2);
    expect(origin.stats().blobBytes).toBe(0);
  });

  test('that sends the first half and makes up the other gets nothing of that half out', async () => {
    const [layer] = secret.layers;
    const half = 2 * MiB;
    evilHas((content) => ({
      ...content,
      read: (offset, length) => (offset < half ? content.read(offset, length) : Buffer.alloc(length)),
    }));
    const { bytes } = await get(0, path('blobs', layer!.digest), evilName);
    expect(bytes.includes(layer!.content.read(half + MiB, 32))).toBe(false);
  });

  test('that really has them gives them out as any other does', async () => {
    evilHas((content) => content);
    for (const { digest, sizeBytes } of secret.blobs) {
      expect((await get(0, path('blobs', digest), evilName)).bytes.length).toBe(sizeBytes);
    }
    expect(evil.stats().blobBytes).toBeGreaterThanOrEqual(secret.totalBytes);
    expect(origin.requests).toEqual([]);
  });
});
