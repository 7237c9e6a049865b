// Fetches as containerd 2.x does with `concurrent_layer_fetch_buffer` set: every first GET, of manifests too, asks for
// `bytes=0-`; where that is answered with a 206, the rest of a blob is fetched in chunks, each by an open-ended `bytes=N-` whose
// connection is closed after the chunk. Later chunks are not checked for being a 206, so a 200 there would spoil the layer.
import { createHash } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { type Digest, MANIFEST_ACCEPT, manifestChildren, parseDigest } from '@shoal/oci';

const CHUNK_BYTES = 512 * 1024;
const AT_ONCE = 3;
const HEADERS_WITHIN_MS = 30_000;
/** Go's client offers these, and must get none of them. */
const ENCODINGS = 'zstd, gzip, deflate';

export interface ChunkedTarget {
  mirrorUrl: string;
  registry: string;
  repository: string;
  tag: string;
}

/** Pulls an image for linux/amd64, or the only one there is; gives the digests of all it got. @throws whatever went wrong */
export async function pullInChunks(target: ChunkedTarget): Promise<Digest[]> {
  const head = await open(target, `manifests/${target.tag}`, { method: 'HEAD' });
  head.resume();
  const root = parseDigest(String(head.headers['docker-content-digest']));
  if (head.statusCode !== 200 || root === undefined) throw new Error(`HEAD of the tag: ${head.statusCode}`);
  const found: Digest[] = [];
  const waiting: { digest: Digest; kind: 'manifest' | 'blob' }[] = [{ digest: root, kind: 'manifest' }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const bytes = await fetchWhole(target, `${next.kind}s/${next.digest}`);
    const hex = createHash('sha256').update(bytes).digest('hex');
    if (next.digest !== `sha256:${hex}`) throw new Error(`${next.digest} has the bytes of ${hex}`);
    found.push(next.digest);
    if (next.kind === 'manifest') waiting.push(...manifestChildren(bytes));
  }
  return found;
}

async function fetchWhole(target: ChunkedTarget, path: string): Promise<Buffer> {
  const first = await open(target, path, { range: 'bytes=0-' });
  if (first.statusCode === 200) return await readUpTo(first, Number.POSITIVE_INFINITY);
  const size = Number(/\/(\d+)$/.exec(String(first.headers['content-range']))?.[1]);
  if (first.statusCode !== 206 || Number.isNaN(size)) throw new Error(`${path}: ${first.statusCode}`);
  const chunks: Buffer[] = [];
  const offsets = Array.from({ length: Math.ceil(size / CHUNK_BYTES) }, (_, index) => index * CHUNK_BYTES);
  const fetchNext = async (): Promise<void> => {
    for (let offset = offsets.shift(); offset !== undefined; offset = offsets.shift()) {
      const answer = offset === 0 ? first : await open(target, path, { range: `bytes=${offset}-` });
      const length = Math.min(CHUNK_BYTES, size - offset);
      chunks[offset / CHUNK_BYTES] = await readUpTo(answer, length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, fetchNext));
  return Buffer.concat(chunks);
}

/** Reads so many bytes and closes the connection. */
async function readUpTo(answer: IncomingMessage, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let received = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    received += chunk.length;
    if (received >= length) break;
  }
  answer.destroy();
  if (received < length && length !== Number.POSITIVE_INFINITY) throw new Error('the body ended early');
  return Buffer.concat(chunks).subarray(0, length);
}

function open(
  { mirrorUrl, registry, repository }: ChunkedTarget,
  path: string,
  { method = 'GET', range }: { method?: string; range?: string },
): Promise<IncomingMessage> {
  const url = `${mirrorUrl}/v2/${repository}/${path}?ns=${encodeURIComponent(registry)}`;
  const headers = { accept: MANIFEST_ACCEPT, 'accept-encoding': ENCODINGS, ...(range === undefined ? {} : { range }) };
  return new Promise((resolve, reject) => {
    const call = request(url, { method, headers, agent: false, timeout: HEADERS_WITHIN_MS }, (answer) => {
      if (answer.headers['content-encoding'] !== undefined) reject(new Error(`${path} came encoded`));
      else resolve(answer);
    });
    call.on('timeout', () => call.destroy(new Error(`${path}: no headers in time`)));
    call.on('error', reject);
    call.end();
  });
}
