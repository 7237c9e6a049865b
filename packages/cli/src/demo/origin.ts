/**
 * The demo's origin: a read-only registry over one OCI image layout, on loopback, that counts what it really sends.
 * It speaks as much of the distribution API as a pull needs (ping, manifests, blobs, HEAD, one range), and it answers
 * the counts on a second port, so that asking for them is not counted.
 */
import { open, readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { applyRange, type Digest, digestHex, manifestMediaTypeOf, parseDigest, parseRangeHeader } from '@shoal/oci';
import { TAG_ANNOTATION } from './image-layout.ts';

const LOOPBACK = '127.0.0.1';
const READ_CHUNK_BYTES: number = 256 * 1024;
/** Agents keep connections; longer than any pause inside a demo. */
const KEEP_ALIVE_TIMEOUT_MS = 60_000;
const PATH = /^\/v2\/(?<repository>[a-z0-9._/-]+)\/(?<kind>manifests|blobs)\/(?<reference>[a-zA-Z0-9._:-]+)$/;

export interface OriginOptions {
  layoutFolder: string;
  repository: string;
  /** 0 or undefined: any free port. */
  port?: number;
  controlPort?: number;
}

export interface OriginCounts {
  /** Body bytes that were handed to the network. */
  bytesSent: number;
  /** Every request for a manifest or blob, HEAD included. */
  requests: number;
}

export interface Origin {
  url: string;
  /** GET answers `OriginCounts` as JSON. */
  controlUrl: string;
  counts(): OriginCounts;
  close(): Promise<void>;
}

interface Found {
  digest: Digest;
  path: string;
  sizeBytes: number;
  mediaType: string;
}

export async function startOrigin(options: OriginOptions): Promise<Origin> {
  const tags = await readTags(options.layoutFolder);
  const counts: OriginCounts = { bytesSent: 0, requests: 0 };
  const registry = createServer({ keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS }, (request, response) => {
    answer(request, response, options, tags, counts).catch(() => response.destroy());
  });
  const control = createServer((_request, response) => {
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(counts));
  });
  const url = await listen(registry, options.port);
  const controlUrl = await listen(control, options.controlPort);
  return {
    url,
    controlUrl,
    counts: () => ({ ...counts }),
    close: async () => {
      await Promise.all([close(registry), close(control)]);
    },
  };
}

async function readTags(layoutFolder: string): Promise<Map<string, Digest>> {
  const index: unknown = JSON.parse(await readFile(join(layoutFolder, 'index.json'), 'utf8'));
  const tags = new Map<string, Digest>();
  const { manifests = [] } = index as { manifests?: { digest: string; annotations?: Record<string, string> }[] };
  for (const entry of manifests) {
    const tag = entry.annotations?.[TAG_ANNOTATION];
    const digest = parseDigest(entry.digest);
    if (tag !== undefined && digest !== undefined) tags.set(tag, digest);
  }
  return tags;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: OriginOptions,
  tags: ReadonlyMap<string, Digest>,
  counts: OriginCounts,
): Promise<void> {
  response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
  const [path = ''] = (request.url ?? '').split('?', 1);
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'UNSUPPORTED');
  if (path === '/v2/' || path === '/v2') {
    response.setHeader('Content-Type', 'application/json').end('{}');
    return;
  }
  counts.requests += 1;
  const { repository, kind, reference } = PATH.exec(path)?.groups ?? {};
  if (repository !== options.repository || reference === undefined) return refuse(response, 404, 'NAME_UNKNOWN');
  const isManifest = kind === 'manifests';
  const digest = (isManifest ? tags.get(reference) : undefined) ?? parseDigest(reference);
  const found = digest === undefined ? undefined : await find(options.layoutFolder, digest, isManifest);
  if (found === undefined) return refuse(response, 404, isManifest ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN');
  await send(request, response, found, counts);
}

async function find(layoutFolder: string, digest: Digest, isManifest: boolean): Promise<Found | undefined> {
  const path = join(layoutFolder, 'blobs', 'sha256', digestHex(digest));
  const file = await stat(path).catch(() => undefined);
  if (file === undefined || !file.isFile()) return undefined;
  if (!isManifest) return { digest, path, sizeBytes: file.size, mediaType: 'application/octet-stream' };
  const mediaType = manifestMediaTypeOf(await readFile(path));
  return mediaType === undefined ? undefined : { digest, path, sizeBytes: file.size, mediaType };
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  found: Found,
  counts: OriginCounts,
): Promise<void> {
  response.setHeader('Docker-Content-Digest', found.digest);
  response.setHeader('Accept-Ranges', 'bytes');
  const range = applyRange(parseRangeHeader(request.headers.range), found.sizeBytes);
  if (range.kind === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${found.sizeBytes}`);
    return refuse(response, 416, 'RANGE_INVALID');
  }
  const [start, end] = range.kind === 'range' ? [range.start, range.end] : [0, found.sizeBytes];
  if (range.kind === 'range') {
    response.statusCode = 206;
    response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${found.sizeBytes}`);
  }
  response.setHeader('Content-Type', found.mediaType);
  response.setHeader('Content-Length', end - start);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  await sendBytes(response, found.path, start, end, counts);
}

/** A reader that leaves early stops the count where the writing stopped. */
async function sendBytes(
  response: ServerResponse,
  path: string,
  start: number,
  end: number,
  counts: OriginCounts,
): Promise<void> {
  const file = await open(path);
  try {
    const chunk = Buffer.allocUnsafe(Math.min(READ_CHUNK_BYTES, end - start));
    for (let at = start; at < end; ) {
      const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, end - at), at);
      if (bytesRead === 0) throw new Error(`${path} ended at byte ${at}`);
      await write(response, chunk.subarray(0, bytesRead));
      counts.bytesSent += bytesRead;
      at += bytesRead;
    }
    response.end();
  } finally {
    await file.close();
  }
}

/** Settles once the bytes have left for the kernel, so the buffer may be used again. */
function write(response: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => reject(new Error('the client closed the connection'));
    response.once('close', onClose);
    response.write(bytes, (error) => {
      response.off('close', onClose);
      if (error) reject(error);
      else resolve();
    });
  });
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] }));
}

async function listen(server: Server, port = 0): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOOPBACK, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the origin has no port');
  return `http://${LOOPBACK}:${address.port}`;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
