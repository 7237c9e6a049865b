/**
 * One body by digest, the way containerd fetches it: hashed as it comes, resumed by Range where it ended early, refused
 * when it is not what was asked for.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, digestHex } from '@shoal/oci';
import { type Dispatcher, request } from 'undici';
import { PullFailure } from './pull-failure.ts';

/** A mirror that has not decided by then would have lost a runtime too. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Without a single byte. */
const STALL_TIMEOUT_MS = 30_000;
/** Tries in a row that brought no byte; containerd's number. */
const BARREN_TRIES = 3;

export interface BodyRequest {
  url: string;
  digest: Digest;
  sizeBytes: number;
  headers?: Readonly<Record<string, string>>;
  onBytes: (bytes: Uint8Array) => void;
  dispatcher: Dispatcher;
  signal: AbortSignal;
}

/** Settles once every byte arrived and hashed to the digest. @throws PullFailure */
export async function fetchVerified(wanted: BodyRequest): Promise<void> {
  const hash = createHash(digestAlgorithm(wanted.digest));
  let receivedBytes = 0;
  let barrenTries = 0;
  let lastError: unknown;
  do {
    const before = receivedBytes;
    try {
      for await (const bytes of bodyFrom(wanted, receivedBytes)) {
        receivedBytes += bytes.length;
        if (receivedBytes > wanted.sizeBytes) throw new PullFailure('wrong-bytes', `${wanted.digest} is too long`);
        hash.update(bytes);
        wanted.onBytes(bytes);
      }
      lastError = undefined;
    } catch (cause) {
      wanted.signal.throwIfAborted();
      if (cause instanceof PullFailure) throw cause;
      if (receivedBytes > before && isReset(cause)) {
        throw new PullFailure('reset', `connection reset at byte ${receivedBytes} of ${wanted.digest}`, { cause });
      }
      lastError = cause;
    }
    barrenTries = receivedBytes > before ? 0 : barrenTries + 1;
    if (barrenTries >= BARREN_TRIES) throw gaveUp(wanted, receivedBytes, lastError);
  } while (receivedBytes < wanted.sizeBytes || (wanted.sizeBytes === 0 && lastError !== undefined));
  if (hash.digest('hex') !== digestHex(wanted.digest)) {
    throw new PullFailure('wrong-bytes', `the body of ${wanted.digest} has another digest`);
  }
}

/** The bytes from `offset` on, also when the server answers a Range with the whole body. */
async function* bodyFrom(wanted: BodyRequest, offset: number): AsyncGenerator<Uint8Array> {
  const { statusCode, headers, body } = await request(wanted.url, {
    headers: { ...wanted.headers, ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: STALL_TIMEOUT_MS,
    dispatcher: wanted.dispatcher,
    signal: wanted.signal,
  });
  const resumed = statusCode === 206 && String(headers['content-range']).startsWith(`bytes ${offset}-`);
  if (statusCode !== 200 && !resumed) {
    await body.dump();
    throw new PullFailure('refused', `${statusCode} for ${wanted.url}`);
  }
  let skipBytes = resumed ? 0 : offset;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    const skipped = Math.min(skipBytes, chunk.length);
    skipBytes -= skipped;
    if (skipped < chunk.length) yield chunk.subarray(skipped);
  }
}

function isReset(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNRESET';
}

function gaveUp(wanted: BodyRequest, receivedBytes: number, cause: unknown): PullFailure {
  return receivedBytes === 0
    ? new PullFailure('unreachable', `no byte of ${wanted.digest}`, { cause })
    : new PullFailure('cut-short', `${receivedBytes} of ${wanted.sizeBytes} bytes of ${wanted.digest}`, { cause });
}
