// Valid OCI images for the agent's tests, from a seed: the same options give the same digests, on every machine too
// unless layers are compressed.
//
//   const image = await buildImage({ layers: [64 * MiB, { tarGzBytes: 2 * MiB }] });
//   origin.add(image);
import { gzipSync } from 'node:zlib';
import { type Digest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '@shoal/oci';
import { packTar } from './daemon/tar.ts';
import { type Content, memoryContent, sha256Digest, syntheticBytes, syntheticContent } from './fault-origin/content.ts';

const layerMediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';

/**
 * A number: a layer of that many pseudo-random bytes, made up as they are read; runtimes cannot unpack it.
 * `tarGzBytes`: a real layer with one file of that many pseudo-random bytes, held in memory.
 */
export type LayerSpec = number | { readonly tarGzBytes: number };

export interface ImageOptions {
  /** Images of different seeds share nothing. @default 'image' */
  readonly seed?: string;
  /** @default 'library/app' */
  readonly repository?: string;
  /** @default 'v1' */
  readonly tag?: string;
  /** @default one layer of 1 MiB */
  readonly layers?: readonly LayerSpec[];
  /** Whether the tag names an index over the one manifest. @default false */
  readonly index?: boolean;
}

export interface FixtureBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
  readonly content: Content;
}

export interface FixtureManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface ImageFixture {
  readonly repository: string;
  readonly tag: string;
  /** What the tag names: the index, or the manifest where there is none. */
  readonly root: FixtureManifest;
  readonly manifest: FixtureManifest;
  /** Root first. */
  readonly manifests: readonly FixtureManifest[];
  readonly config: FixtureBlob;
  readonly layers: readonly FixtureBlob[];
  /** Config and layers. */
  readonly blobs: readonly FixtureBlob[];
  /** Bytes of config and layers. */
  readonly totalBytes: number;
}

export async function buildImage(options: ImageOptions = {}): Promise<ImageFixture> {
  const {
    seed = 'image',
    repository = 'library/app',
    tag = 'v1',
    layers: specs = [1024 * 1024],
    index = false,
  } = options;
  const built = await Promise.all(specs.map((spec, number) => buildLayer(`${seed}/layer-${number}`, spec)));
  const layers = built.map(({ blob }) => blob);
  const config = fixtureBlob(
    memoryContent(
      Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          config: { Labels: { seed } },
          rootfs: { type: 'layers', diff_ids: built.map(({ diffId }) => diffId) },
        }),
      ),
    ),
    OCI_CONFIG,
  );
  const manifest = fixtureManifest(OCI_MANIFEST, { config: descriptor(config), layers: layers.map(descriptor) });
  const platform = { architecture: 'amd64', os: 'linux' };
  const named = { ...descriptor({ ...manifest, sizeBytes: manifest.bytes.length }), platform };
  const root = index ? fixtureManifest(OCI_INDEX, { manifests: [named] }) : manifest;
  const blobs = [config, ...layers];
  return {
    repository,
    tag,
    root,
    manifest,
    manifests: index ? [root, manifest] : [manifest],
    config,
    layers,
    blobs,
    totalBytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

async function buildLayer(seed: string, spec: LayerSpec): Promise<{ blob: FixtureBlob; diffId: Digest }> {
  if (typeof spec === 'number') {
    const blob = fixtureBlob(await syntheticContent(seed, spec), layerMediaType);
    return { blob, diffId: blob.digest };
  }
  const name = `data-${sha256Digest(Buffer.from(seed)).slice(-12)}`;
  const tar = packTar([{ kind: 'file', name, content: syntheticBytes(seed, 0, spec.tarGzBytes) }]);
  return { blob: fixtureBlob(memoryContent(gzipSync(tar, { level: 1 })), layerMediaType), diffId: sha256Digest(tar) };
}

function fixtureBlob(content: Content, mediaType: string): FixtureBlob {
  return { digest: content.digest, sizeBytes: content.sizeBytes, mediaType, content };
}

function fixtureManifest(mediaType: string, fields: Record<string, unknown>): FixtureManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  return { digest: sha256Digest(bytes), mediaType, bytes };
}

function descriptor({ mediaType, digest, sizeBytes }: { mediaType: string; digest: Digest; sizeBytes: number }) {
  return { mediaType, digest, size: sizeBytes };
}
