/**
 * The images that are rolled out: layers of gzip with a tar of one file each, whose bytes look random and depend on the
 * seed alone. They do not compress, so a layer is as large on the wire as in the container.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { OCI_CONFIG, OCI_MANIFEST } from '@shoal/oci';
import { request } from 'undici';
import { ociArchitecture } from '../../packages/cli/src/demo/image.ts';
import { tarHeader, tarPaddingBytes } from '../../test/support/daemon/tar.ts';
import { syntheticBytes } from '../../test/support/fault-origin/content.ts';

const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const CHUNK_BYTES = 1024 * 1024;
/** The end of an archive. */
const TAR_END_BYTES = 1024;

export interface BenchBlob {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface BenchLayer extends BenchBlob {
  /** The digest of what is in the gzip. */
  readonly diffId: string;
  readonly path: string;
}

export interface BenchImage {
  readonly repository: string;
  readonly tag: string;
  readonly manifest: BenchBlob;
  readonly config: BenchBlob;
  readonly layers: readonly BenchBlob[];
  /** Manifest, config and layers. */
  readonly totalBytes: number;
}

/** One layer as a file in `folder`. @param contentBytes of the one file in it; the layer is a little larger */
export async function buildLayer(folder: string, seed: string, contentBytes: number): Promise<BenchLayer> {
  const path = join(folder, `layer-${seed}`);
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  let sizeBytes = 0;
  const count = (hash: Hash, onBytes: (bytes: number) => void = () => {}): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        onBytes(chunk.length);
        done(null, chunk);
      },
    });
  await pipeline(
    Readable.from(archive(seed, contentBytes)),
    count(plain),
    createGzip({ level: 0 }),
    count(packed, (bytes) => {
      sizeBytes += bytes;
    }),
    createWriteStream(path),
  );
  const [diffId, digest] = [plain, packed].map((hash) => `sha256:${hash.digest('hex')}`) as [string, string];
  return { mediaType: LAYER_TYPE, digest, sizeBytes, diffId, path };
}

/** Pushes an image of these layers to a registry that is reached by `url`. @throws Error when it takes one of them not */
export async function pushImage(
  url: string,
  repository: string,
  tag: string,
  layers: readonly BenchLayer[],
): Promise<BenchImage> {
  for (const { digest, sizeBytes, path } of layers) {
    await pushBlob(url, repository, digest, sizeBytes, () => createReadStream(path));
  }
  const architecture = ociArchitecture(process.arch);
  const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) };
  const config = json({ architecture, os: 'linux', config: {}, rootfs, history: [] }, OCI_CONFIG);
  await pushBlob(url, repository, config.digest, config.sizeBytes, () => Readable.from([config.bytes]));
  const descriptors = layers.map(({ mediaType, digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes }));
  const manifest = json(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: config.digest, size: config.sizeBytes },
      layers: descriptors,
    },
    OCI_MANIFEST,
  );
  const put = await request(`${url}/v2/${repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': OCI_MANIFEST },
    body: manifest.bytes,
  });
  if (put.statusCode !== 201) throw new Error(`the registry refused the manifest: ${await put.body.text()}`);
  await put.body.dump();
  const totalBytes = manifest.sizeBytes + config.sizeBytes + layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  return { repository, tag, manifest, config, layers, totalBytes };
}

async function* archive(seed: string, contentBytes: number): AsyncGenerator<Buffer> {
  yield tarHeader({ kind: 'file', name: `data/${seed}` }, contentBytes);
  for (let at = 0; at < contentBytes; at += CHUNK_BYTES) {
    yield syntheticBytes(seed, at, Math.min(contentBytes - at, CHUNK_BYTES));
  }
  yield Buffer.alloc(tarPaddingBytes(contentBytes) + TAR_END_BYTES);
}

function json(value: object, mediaType: string): BenchBlob & { bytes: Buffer } {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { mediaType, digest, sizeBytes: bytes.length, bytes };
}

async function pushBlob(
  url: string,
  repository: string,
  digest: string,
  sizeBytes: number,
  body: () => Readable,
): Promise<void> {
  const begun = await request(`${url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  await begun.body.dump();
  const { location } = begun.headers;
  if (begun.statusCode !== 202 || typeof location !== 'string') throw new Error('the registry takes no upload');
  const target = new URL(location, url);
  target.searchParams.set('digest', digest);
  const put = await request(target, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
    body: body(),
  });
  if (put.statusCode !== 201) throw new Error(`the registry refused ${digest}: ${await put.body.text()}`);
  await put.body.dump();
}
