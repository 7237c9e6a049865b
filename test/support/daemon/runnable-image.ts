import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DaemonFolder } from './daemon-folder.ts';
import { run } from './process.ts';
import { requireProgram } from './programs.ts';
import { packTar, type TarEntry } from './tar.ts';

// An image from nothing: Debian's static busybox, files of pseudo-random data that do not compress, links, modes and a
// file that a later layer deletes. Its entrypoint checks every file against the sums that the image carries and then
// prints one line, so a container that prints it was unpacked from the right bytes.

const MiB = 1024 * 1024;
const defaultPayloadBytes = 24 * MiB;
const smallFiles = 200;

const mediaTypes = {
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
} as const;

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** An OCI layout on disk. */
export interface RunnableImage extends AsyncDisposable {
  /** The layout's folder; its only tag is `tag`. */
  readonly layout: string;
  readonly tag: string;
  /** What the tag names: an index with one manifest for this machine. */
  readonly index: Descriptor;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Config and layers. */
  readonly blobs: readonly Descriptor[];
  /** The bytes of all blobs, manifests not counted. */
  readonly totalBytes: number;
  /** What a container prints when every file is right. */
  readonly expectedLine: string;
  /** Every regular file of the root file system with the hex SHA-256 of its content, by path without leading slash. */
  readonly files: ReadonlyMap<string, string>;
}

export interface RunnableImageOptions {
  /** Different seeds give images that share no data. */
  readonly seed: string;
  /** About how large the data layers are together. @default 24 MiB */
  readonly payloadBytes?: number;
}

/** Bytes that look random and depend on the seed alone. */
function seededBytes(seed: string, sizeBytes: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const entrypoint = `#!/bin/sh
cd / || exit 1
sha256sum -c -s SHA256SUMS || { echo "wrong files"; exit 1; }
if [ -e data/deleted ]; then echo "a deleted file is back"; exit 1; fi
[ "$(readlink data/link)" = large-0 ] || { echo "wrong link"; exit 1; }
echo "$SHOAL_LINE"
`;

/** The root file system, layer by layer. */
async function layerEntries(seed: string, payloadBytes: number): Promise<TarEntry[][]> {
  const busybox = await readFile(requireProgram('busybox'));
  const part = Math.ceil(payloadBytes / 8);
  const data = (name: string, sizeBytes: number): TarEntry => ({
    kind: 'file',
    name,
    content: seededBytes(`${seed}/${name}`, sizeBytes),
  });
  const layers: TarEntry[][] = [
    [
      ...['bin', 'etc', 'proc', 'sys', 'dev', 'data'].map((name): TarEntry => ({ kind: 'folder', name })),
      { kind: 'folder', name: 'tmp', mode: 0o1777 },
      { kind: 'file', name: 'bin/busybox', content: busybox, mode: 0o755 },
      { kind: 'file', name: 'etc/passwd', content: Buffer.from('root:x:0:0:root:/:/bin/sh\n') },
      ...['sh', 'sha256sum', 'readlink', 'echo'].map(
        (name): TarEntry => ({ kind: 'symlink', name: `bin/${name}`, target: 'busybox' }),
      ),
      { kind: 'file', name: 'entrypoint', content: Buffer.from(entrypoint), mode: 0o755 },
    ],
    [data('data/large-0', 4 * part), data('data/deleted', 1000)],
    [
      { kind: 'folder', name: 'data/small', mode: 0o750 },
      ...Array.from({ length: smallFiles }, (_, file) => data(`data/small/${file}`, 37 * file)),
      { kind: 'hardlink', name: 'data/small/hardlink', target: 'data/small/7' },
      { kind: 'symlink', name: 'data/link', target: 'large-0' },
    ],
    [data('data/large-1', 3 * part), { kind: 'file', name: 'data/.wh.deleted', content: Buffer.alloc(0) }],
    [data('data/large-2', part)],
  ];
  const sums = [...regularFiles(layers)].map(([name, sum]) => `${sum}  ${name}\n`).join('');
  layers.push([{ kind: 'file', name: 'SHA256SUMS', content: Buffer.from(sums) }]);
  return layers;
}

/** What the layers add up to, by the OCI rules for whiteouts. */
function regularFiles(layers: readonly (readonly TarEntry[])[]): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of layers.flat()) {
    if (entry.name.includes('.wh.')) files.delete(entry.name.replace('.wh.', ''));
    else if (entry.kind === 'file') files.set(entry.name, sha256(entry.content));
    else if (entry.kind === 'hardlink') files.set(entry.name, files.get(entry.target)!);
  }
  return files;
}

/** Builds the image as an OCI layout in a folder of its own. */
export async function buildRunnableImage(options: RunnableImageOptions): Promise<RunnableImage> {
  const folder = await DaemonFolder.create('image');
  const layout = folder.join('layout');
  await mkdir(join(layout, 'blobs', 'sha256'), { recursive: true });

  const store = async (mediaType: string, bytes: Uint8Array): Promise<Descriptor> => {
    const hex = sha256(bytes);
    await writeFile(join(layout, 'blobs', 'sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const storeJson = (mediaType: string, value: unknown): Promise<Descriptor> =>
    store(mediaType, Buffer.from(JSON.stringify(value)));

  const entries = await layerEntries(options.seed, options.payloadBytes ?? defaultPayloadBytes);
  const files = regularFiles(entries);
  const expectedLine = `shoal image ${options.seed}: ${files.size} files are right`;
  const platform = { os: 'linux', architecture: architectures[process.arch] ?? process.arch };

  const diffIds: string[] = [];
  const layers: Descriptor[] = [];
  for (const layer of entries) {
    const tar = packTar(layer);
    diffIds.push(`sha256:${sha256(tar)}`);
    layers.push(await store(mediaTypes.layer, gzipSync(tar, { level: 1 })));
  }
  const config = await storeJson(mediaTypes.config, {
    ...platform,
    created: '2024-01-01T00:00:00Z',
    config: { Entrypoint: ['/entrypoint'], Env: ['PATH=/bin', `SHOAL_LINE=${expectedLine}`], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map((_, layer) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${layer}` })),
  });
  const manifest = await storeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers,
  });
  const index = await storeJson(mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ ...manifest, platform }],
  });

  const tag = 'v1';
  const entry = { ...index, annotations: { 'org.opencontainers.image.ref.name': tag } };
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));

  const blobs = [config, ...layers];
  return {
    layout,
    tag,
    index,
    manifest,
    config,
    layers,
    blobs,
    totalBytes: blobs.reduce((sum, blob) => sum + blob.size, 0),
    expectedLine,
    files,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/**
 * Pushes the image, index included and unchanged, with the image's tag.
 * @param repository `HOST:PORT/REPOSITORY`
 * @param credentials `USER:PASSWORD` for the registry, if it wants any
 */
export async function pushImage(image: RunnableImage, repository: string, credentials?: string): Promise<void> {
  const options = ['--quiet', '--all', '--preserve-digests', '--dest-tls-verify=false'];
  if (credentials !== undefined) options.push('--dest-creds', credentials);
  const images = [`oci:${image.layout}:${image.tag}`, `docker://${repository}:${image.tag}`];
  await run(requireProgram('skopeo'), ['--insecure-policy', 'copy', ...options, ...images]);
}
