/**
 * A blob that cannot be kept (larger than the cache, the disk is full, or nobody knows its size) goes from the origin to
 * the client over one connection. A broken body is taken up again at the same offset. When the whole blob passes, its
 * hash is checked, and its last bytes are held back until it matched.
 */
import { createHash, type Hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, digestAlgorithm, digestHex } from '@shoal/oci';
import { type OriginBody, type OriginClient, OriginError } from '../origin/origin-client.ts';
import { PullError } from './pull-error.ts';
import { callFor, type PullSource } from './pulls.ts';

const MAX_ATTEMPTS_WITHOUT_PROGRESS = 4;
const FIRST_PAUSE_MS = 100;

export interface PassedRange {
  start: number;
  /** Exclusive; undefined means up to the end, wherever that is. */
  end: number | undefined;
  /** The state after the bytes before `start`, when those were sent too and the range ends with the blob. */
  hash?: Hash | undefined;
}

/** Yields the bytes of a range of the blob. @throws OriginError, PullError */
export async function* passThrough(
  origin: OriginClient,
  source: PullSource,
  digest: Digest,
  range: PassedRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const isWhole = range.start === 0 && range.end === undefined;
  const hash = range.hash ?? (isWhole ? createHash(digestAlgorithm(digest)) : undefined);
  let held: Uint8Array | undefined;
  for await (const chunk of resumedBytes(origin, source, digest, range, signal)) {
    hash?.update(chunk);
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (hash !== undefined && hash.digest('hex') !== digestHex(digest)) {
    throw new PullError('mismatch', `${digest}: the origin's bytes do not match the digest`);
  }
  if (held !== undefined) yield held;
}

async function* resumedBytes(
  origin: OriginClient,
  source: PullSource,
  digest: Digest,
  range: PassedRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let offset = range.start;
  for (let attempt = 0; ; attempt++) {
    let body: OriginBody | undefined;
    try {
      body = await openBody(origin, source, digest, { offset, end: range.end }, signal);
      let position = body.offset;
      for await (const chunk of body.chunks) {
        const from = Math.min(chunk.length, Math.max(0, offset - position));
        const to = range.end === undefined ? chunk.length : Math.min(chunk.length, range.end - position);
        position += chunk.length;
        if (from >= to) continue;
        offset += to - from;
        attempt = 0;
        yield chunk.subarray(from, to);
        if (offset === range.end) return;
      }
      return;
    } catch (error) {
      const again = error instanceof OriginError && error.temporary && attempt + 1 < MAX_ATTEMPTS_WITHOUT_PROGRESS;
      if (!again || signal.aborted) throw error;
      await sleep(FIRST_PAUSE_MS * 2 ** attempt, undefined, { signal });
    } finally {
      body?.close();
    }
  }
}

async function openBody(
  origin: OriginClient,
  source: PullSource,
  digest: Digest,
  { offset, end }: { offset: number; end: number | undefined },
  signal: AbortSignal,
): Promise<OriginBody> {
  const call = callFor(source, signal);
  if (source.kind === 'blob') {
    return origin.blob(source.repository, digest, end === undefined ? { offset } : { offset, end }, call);
  }
  const { bytes } = await origin.manifest(source.repository, digest, source.accept ?? '*/*', call);
  const chunks = (async function* () {
    yield bytes;
  })();
  return { offset: 0, ranged: false, sizeBytes: bytes.length, chunks, close: () => {} };
}
