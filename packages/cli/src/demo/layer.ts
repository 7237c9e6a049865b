/**
 * One image layer: a tar written straight to disk while it is hashed, so a layer of any size costs a few buffers.
 * Equal entries give equal bytes: sorted by path, owned by root, dated 1970, only the executable bit kept of the modes.
 */
import { createHash, type Hash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Digest, parseDigest } from '@shoal/oci';
import { type Pack, pack } from 'tar-stream';

export const LAYER_MEDIA_TYPE = 'application/vnd.oci.image.layer.v1.tar';

/** Up to this size a file is read whole, so that one edited meanwhile still gives a valid tar. */
const WHOLE_READ_BYTES: number = 1024 * 1024;
const READ_CHUNK_BYTES: number = 1024 * 1024;
const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

/** `path` is the place inside the image, without a leading slash. Parent folders come by themselves. */
export type LayerEntry =
  | { kind: 'file'; path: string; source: string }
  | { kind: 'text'; path: string; text: string; executable?: boolean }
  | { kind: 'symlink'; path: string; target: string }
  | { kind: 'directory'; path: string; mode?: number };

/** A file in `blobs/sha256`; being uncompressed, a layer's digest is its diff_id too. */
export interface WrittenBlob {
  digest: Digest;
  sizeBytes: number;
  mediaType: string;
}

export async function writeLayer(
  entries: readonly LayerEntry[],
  layoutFolder: string,
  signal?: AbortSignal,
): Promise<WrittenBlob> {
  const tar = pack();
  const failing = new AbortController();
  const signals = signal === undefined ? [failing.signal] : [signal, failing.signal];
  const bytes: AsyncIterable<unknown> = tar;
  const writing = writeBlob(
    bytes as AsyncIterable<Uint8Array>,
    layoutFolder,
    LAYER_MEDIA_TYPE,
    AbortSignal.any(signals),
  );
  const filling = fill(tar, entries).then(
    () => tar.finalize(),
    (cause: unknown) => {
      failing.abort(cause);
      throw cause;
    },
  );
  try {
    const [written] = await Promise.all([writing, filling]);
    return written;
  } finally {
    await Promise.allSettled([writing, filling]);
  }
}

/** Stores bytes under the digest they turn out to have. */
export async function writeBlob(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  layoutFolder: string,
  mediaType: string,
  signal?: AbortSignal,
): Promise<WrittenBlob> {
  const folder = join(layoutFolder, 'blobs', 'sha256');
  await mkdir(folder, { recursive: true });
  const draft = join(folder, `.draft-${randomUUID()}`);
  const hash = createHash('sha256');
  const counted = { sizeBytes: 0 };
  try {
    await pipeline(bytes, hashing(hash, counted), createWriteStream(draft, { flags: 'wx' }), { signal });
    const hex = hash.digest('hex');
    await rename(draft, join(folder, hex));
    return { digest: sha256Digest(hex), sizeBytes: counted.sizeBytes, mediaType };
  } finally {
    await rm(draft, { force: true });
  }
}

function hashing(hash: Hash, counted: { sizeBytes: number }): Transform {
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done): void {
      hash.update(chunk);
      counted.sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
}

function sha256Digest(hex: string): Digest {
  const digest = parseDigest(`sha256:${hex}`);
  if (digest === undefined) throw new TypeError(`not a SHA-256: ${hex}`);
  return digest;
}

async function fill(tar: Pack, entries: readonly LayerEntry[]): Promise<void> {
  for (const entry of withParents(entries)) await add(tar, entry);
}

/** Sorted by path, so a folder comes before what is in it; a folder that is listed keeps its own mode. */
function withParents(entries: readonly LayerEntry[]): LayerEntry[] {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    for (let folder = dirname(entry.path); folder !== '.'; folder = dirname(folder)) {
      if (!byPath.has(folder)) byPath.set(folder, { kind: 'directory', path: folder });
    }
    byPath.set(entry.path, entry);
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

async function add(tar: Pack, entry: LayerEntry): Promise<void> {
  const mtime = new Date(0);
  switch (entry.kind) {
    case 'directory':
      await put(tar, { name: `${entry.path}/`, type: 'directory', mode: entry.mode ?? DIRECTORY_MODE, mtime });
      return;
    case 'symlink':
      await put(tar, { name: entry.path, type: 'symlink', linkname: entry.target, mode: 0o777, mtime });
      return;
    case 'text': {
      const mode = entry.executable === true ? EXECUTABLE_MODE : FILE_MODE;
      await put(tar, { name: entry.path, mode, mtime }, Buffer.from(entry.text));
      return;
    }
    case 'file': {
      const { size, mode: sourceMode } = await stat(entry.source);
      const mode = (sourceMode & 0o100) === 0 ? FILE_MODE : EXECUTABLE_MODE;
      if (size <= WHOLE_READ_BYTES) {
        await put(tar, { name: entry.path, mode, mtime }, await readFile(entry.source));
        return;
      }
      const body = createReadStream(entry.source, { end: size - 1, highWaterMark: READ_CHUNK_BYTES });
      await pipeline(body, tar.entry({ name: entry.path, mode, mtime, size }));
    }
  }
}

function put(tar: Pack, header: Parameters<Pack['entry']>[0], body?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (body === undefined) tar.entry(header, done);
    else tar.entry(header, body, done);
  });
}
