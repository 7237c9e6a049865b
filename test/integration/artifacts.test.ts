/** Whatever is kept in registries beside plain images: bytes and types come through unchanged, are read once, and are shared. */
import { createHash } from 'node:crypto';
import { type Digest, OCI_INDEX, OCI_MANIFEST, parseDigest } from '@shoal/oci';
import { request } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { syntheticBytes } from '../support/fault-origin/content.ts';
import { type Content, FaultOrigin } from '../support/fault-origin.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';

const repository = 'org/things';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const resources = new AsyncDisposableStack();
let origin: FaultOrigin;
let cluster: ShoalCluster;

beforeAll(async () => {
  origin = resources.use(await FaultOrigin.start());
  cluster = resources.use(await ShoalCluster.start({ origin, nodes: 2 }));
});
afterAll(() => resources.disposeAsync());
beforeEach(() => origin.resetStats());

interface Part {
  mediaType: string;
  bytes: Buffer;
  algorithm?: 'sha256' | 'sha512';
  /** Not in the registry, but there. */
  urls?: string[];
}

function digestOf({ bytes, algorithm = 'sha256' }: Pick<Part, 'bytes' | 'algorithm'>): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`)!;
}

const descriptor = (part: Part) => ({
  mediaType: part.mediaType,
  digest: digestOf(part),
  size: part.bytes.length,
  ...(part.urls === undefined ? {} : { urls: part.urls }),
});

/** Puts a manifest with these parts into the registry; gives its bytes. */
function add(tag: string, config: Part, layers: Part[], more: object = {}): Buffer {
  for (const part of [config, ...layers].filter(({ urls }) => urls === undefined)) {
    const { bytes } = part;
    const content: Content = {
      digest: digestOf(part),
      sizeBytes: bytes.length,
      read: (offset, length) => bytes.subarray(offset, offset + length),
    };
    origin.addBlob(repository, content);
  }
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    ...more,
    config: descriptor(config),
    layers: layers.map(descriptor),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  origin.addManifest(repository, bytes, OCI_MANIFEST, tag);
  return bytes;
}

async function get(index: number, path: string) {
  const url = `${cluster.agent(index).mirrorUrl}/v2/${repository}/${path}?ns=${registryName}`;
  const { statusCode, headers, body } = await request(url, { headers: { accept: `${OCI_INDEX}, ${OCI_MANIFEST}` } });
  return { status: statusCode, type: headers['content-type'], bytes: Buffer.from(await body.arrayBuffer()) };
}

const random = (seed: string, size: number) => syntheticBytes(seed, 0, size);
const empty: Part = { mediaType: EMPTY, bytes: Buffer.from('{}') };
const subject = { mediaType: OCI_MANIFEST, digest: digestOf({ bytes: Buffer.from('an image') }), size: 8 };

const things: [name: string, tag: string, config: Part, layers: Part[], more?: object][] = [
  [
    'a Helm chart',
    'chart-1.2.3',
    { mediaType: 'application/vnd.cncf.helm.config.v1+json', bytes: Buffer.from('{"name":"chart"}') },
    [
      { mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', bytes: random('chart', 40_000) },
      { mediaType: 'application/vnd.cncf.helm.chart.provenance.v1.prov', bytes: Buffer.from('signed') },
    ],
  ],
  [
    'a signature beside its image',
    `sha256-${'a'.repeat(64)}.sig`,
    { mediaType: 'application/vnd.oci.image.config.v1+json', bytes: Buffer.from('{"architecture":""}') },
    [{ mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json', bytes: Buffer.from('{"critical":{}}') }],
  ],
  [
    'an SBOM that refers to its image',
    'sbom',
    empty,
    [{ mediaType: 'application/spdx+json', bytes: random('sbom', 300_000) }],
    { artifactType: 'application/spdx+json', subject, annotations: { 'org.example': 'ü' } },
  ],
  [
    'a layer of zstd',
    'zstd',
    empty,
    [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd', bytes: random('zstd', 2_000_000) }],
  ],
  [
    'a layer named by sha512',
    'sha512',
    empty,
    [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', bytes: random('sha512', 1_500_000), algorithm: 'sha512' }],
  ],
  ['a layer of no bytes', 'nothing', empty, [{ mediaType: 'application/octet-stream', bytes: Buffer.alloc(0) }]],
  [
    'types that nobody knows',
    'unknown',
    { mediaType: 'x/y', bytes: Buffer.from('?') },
    [{ mediaType: 'z/w', bytes: random('z', 9) }],
  ],
];

describe('through two agents, one after the other,', () => {
  test.each(things)('%s is what it was, and read once', async (_, tag, config, layers, more) => {
    const manifest = add(tag, config, layers, more);
    for (const index of [0, 1]) {
      const got = await get(index, `manifests/${tag}`);
      expect([got.status, got.type, got.bytes.equals(manifest)]).toEqual([200, OCI_MANIFEST, true]);
      for (const part of [config, ...layers]) {
        const blob = await get(index, `blobs/${digestOf(part)}`);
        expect([part.mediaType, blob.status, blob.bytes.equals(part.bytes)]).toEqual([part.mediaType, 200, true]);
      }
    }
    const sizes = new Map([config, ...layers].map((part) => [digestOf(part), part.bytes.length]));
    const { byDigest } = origin.stats();
    // What all things have in common was read for the first of them.
    for (const [digest, size] of sizes) expect(byDigest[digest]?.bytes ?? 0, digest).toBeLessThanOrEqual(size);
  });
});

test('an index with attestations has all of its entries, whatever their platform', async () => {
  const manifests = ['amd64', 'unknown'].map((architecture) => {
    const bytes = add(`of-${architecture}`, empty, [
      { mediaType: 'application/vnd.in-toto+json', bytes: random(architecture, 999) },
    ]);
    const platform = { architecture, os: architecture === 'unknown' ? 'unknown' : 'linux' };
    return { mediaType: OCI_MANIFEST, digest: digestOf({ bytes }), size: bytes.length, platform };
  });
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  origin.addManifest(repository, index, OCI_INDEX, 'attested');
  for (const node of [0, 1]) {
    const got = await get(node, 'manifests/attested');
    expect([got.type, got.bytes.equals(index)]).toEqual([OCI_INDEX, true]);
    for (const { digest, size } of manifests) {
      const manifest = await get(node, `manifests/${digest}`);
      expect([manifest.status, manifest.bytes.length]).toEqual([200, size]);
    }
  }
});

test('a foreign layer is left to the client, and the others of its image are served', async () => {
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    bytes: random('foreign', 999),
  };
  const own = { mediaType: 'application/vnd.oci.image.layer.v1.tar', bytes: random('own', 9_999) };
  add('foreign', empty, [{ ...foreign, urls: ['https://example.com/layer'] }, own]);
  for (const node of [0, 1]) {
    expect((await get(node, 'manifests/foreign')).status).toBe(200);
    expect((await get(node, `blobs/${digestOf(own)}`)).bytes.equals(own.bytes)).toBe(true);
    expect((await get(node, `blobs/${digestOf(foreign)}`)).status).toBe(404);
  }
});
