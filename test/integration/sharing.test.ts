/** What a cluster is for: the origin is read once, for any number of nodes, and is not needed after that. */

import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
/** The bar for four agents and one image. */
const MAX_ORIGIN_BYTES_RATIO = 1.1;

describeWith('skopeo', 'agents that share', () => {
  let resources: AsyncDisposableStack;
  let origin: FaultOrigin;
  let cluster: ShoalCluster;

  async function start(nodes: number): Promise<void> {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(
      await ShoalCluster.start({ origin, nodes, agentArguments: () => ['--default-registry', registryName] }),
    );
  }
  beforeEach(() => {
    resources = new AsyncDisposableStack();
  });
  afterEach(() => resources.disposeAsync());

  async function newImage(layers: readonly number[], index = false): Promise<ImageFixture> {
    const image = await buildImage({ seed: `sharing-${layers}`, repository: 'org/img', layers, index });
    origin.add(image);
    return image;
  }

  test('a second node reads no layer byte from the origin; an image that any of three holds pulls on all when it is gone', async () => {
    await start(3);
    const image = await newImage([12 * MiB, 2 * MiB, 40_000], true);
    await cluster.copy(0, image);
    expect(origin.stats().blobBytes).toBe(image.totalBytes);
    origin.resetStats();
    await cluster.copy(1, image);
    expect(origin.stats().blobBytes).toBe(0);
    expect(await cluster.bytes(1, 'origin')).toBeLessThan(100_000);
    expect(await cluster.bytes(1, 'peer')).toBeGreaterThanOrEqual(14 * MiB);

    await origin.down();
    // Not even the tag was ever asked for at this one.
    await cluster.copy(2, image);
    for (const [index] of cluster.agents.entries()) {
      await cluster.copy(index, image);
      await cluster.pull(index, image, { reference: image.root.digest });
    }
  });

  test('with the origin gone, an image that one agent holds pulls by digest on another that never saw it', async () => {
    await start(2);
    const image = await newImage([3 * MiB], true);
    await cluster.copy(0, image);
    await origin.down();
    await cluster.pull(1, image, { reference: image.root.digest });
    expect(await cluster.bytes(1, 'origin')).toBe(0);
  });

  test('four agents, one image of 120 MiB, all at once: read once', async () => {
    await start(4);
    const image = await newImage([64 * MiB, 40 * MiB, 16 * MiB, 300_000]);
    // The client compares every body with its digest.
    const pulls = await Promise.all(cluster.agents.map((_, index) => cluster.pull(index, image)));
    for (const pulled of pulls) {
      expect(pulled.manifestDigest).toBe(image.manifest.digest);
      expect(pulled.blobs.map(({ digest }) => digest).sort()).toEqual(image.blobs.map(({ digest }) => digest).sort());
    }
    expect(origin.stats().blobBytes / image.totalBytes).toBeLessThanOrEqual(MAX_ORIGIN_BYTES_RATIO);
    for (const [index] of cluster.agents.entries()) {
      expect(await cluster.metric(index, 'shoal_pulls_total', { result: 'failed' })).toBe(0);
    }
    // Nothing is left to fetch.
    await origin.down();
    await Promise.all(cluster.agents.map((_, index) => cluster.pull(index, image)));
  });

  test('three agents at once in front of an origin that goes wrong in every way: all get the image, read about once', async () => {
    await start(3);
    const image = await newImage([24 * MiB, 8 * MiB, 500_000], true);
    const read = { kind: 'blob', method: 'GET' } as const;
    const faults = [
      origin.inject({ ...read, nth: 1 }, { type: 'stall', afterBytes: 2 * MiB }),
      origin.inject({ ...read, nth: 2 }, { type: 'cut-short', afterBytes: MiB }),
      origin.inject({ ...read, nth: 3 }, { type: 'reset', afterBytes: 700_000 }),
      origin.inject({ ...read, nth: 4 }, { type: 'status', status: 503 }),
      origin.inject({ ...read, nth: 5 }, { type: 'status', status: 500 }),
      origin.inject({ kind: 'manifest', nth: 1 }, { type: 'delay', delayMs: 500 }),
    ];
    origin.inject(read, { type: 'slow', bytesPerSecond: 16 * MiB });
    await Promise.all(cluster.agents.map((_, index) => cluster.copy(index, image)));
    expect(faults.map(({ hits }) => hits)).toEqual(faults.map(() => 1));
    expect(origin.stats().blobBytes / image.totalBytes).toBeLessThanOrEqual(1.5);
  });

  test('an upstream is addressed by ns, by header, by path and by default', async () => {
    await start(1);
    const image = await newImage([MiB]);
    const { mirrorUrl } = cluster.agent(0);
    const byPath = `${mirrorUrl}/v2/${registryName}/org/img`;
    const byName = `${mirrorUrl}/v2/org/img`;
    const ways: [base: string, query: string, headers: Record<string, string>][] = [
      [byName, `?ns=${encodeURIComponent(registryName)}`, {}],
      [byName, '', { 'OCI-Namespace': registryName }],
      [byPath, '', {}],
      [byName, '', {}],
    ];
    for (const [base, query, headers] of ways) {
      const manifest = await request(`${base}/manifests/${image.tag}${query}`, { headers });
      expect(manifest.statusCode).toBe(200);
      expect(image.root.bytes.equals(Buffer.from(await manifest.body.bytes()))).toBe(true);
      const layer = image.layers[0]!;
      const blob = await request(`${base}/blobs/${layer.digest}${query}`, { headers });
      expect(blob.statusCode).toBe(200);
      expect(layer.content.read(0, layer.sizeBytes).equals(Buffer.from(await blob.body.bytes()))).toBe(true);
    }
    const elsewhere = await request(`${byName}/manifests/${image.tag}?ns=127.0.0.1%3A1`);
    expect(elsewhere.statusCode).toBe(404);
    await elsewhere.body.dump();
  });
});
