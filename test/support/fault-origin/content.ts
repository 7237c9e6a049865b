// Bytes that a test's registry serves: held in memory, or made up on the fly so that a blob of 2 GiB costs nothing to
// hold and any range of it is cheap.
import { createCipheriv, createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Digest } from '@shoal/oci';

const cipherBlockBytes = 16;
const hashedAtOnceBytes = 8 * 1024 * 1024;
const zeros = Buffer.alloc(hashedAtOnceBytes + cipherBlockBytes);

export interface Content {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The bytes `[offset, offset + lengthBytes)`, which must lie inside. The caller does not write to them. */
  read(offset: number, lengthBytes: number): Buffer;
}

export function memoryContent(bytes: Buffer): Content {
  return {
    digest: sha256Digest(bytes),
    sizeBytes: bytes.length,
    read: (offset, lengthBytes) => bytes.subarray(offset, offset + lengthBytes),
  };
}

/** Bytes that look random and depend on `(seed, position)` alone. Equal seeds make one content a prefix of the other. */
export async function syntheticContent(seed: string, sizeBytes: number): Promise<Content> {
  const read = (offset: number, lengthBytes: number): Buffer => syntheticBytes(seed, offset, lengthBytes);
  return { digest: await syntheticDigest(seed, sizeBytes), sizeBytes, read };
}

/** AES in counter mode over zeros: its key stream can be entered at any block. */
export function syntheticBytes(seed: string, offset: number, lengthBytes: number): Buffer {
  const counter = Buffer.alloc(cipherBlockBytes);
  counter.writeBigUInt64BE(BigInt(Math.floor(offset / cipherBlockBytes)), 8);
  const skippedBytes = offset % cipherBlockBytes;
  const neededBytes = skippedBytes + lengthBytes;
  const plain = neededBytes <= zeros.length ? zeros.subarray(0, neededBytes) : Buffer.alloc(neededBytes);
  return createCipheriv('aes-256-ctr', keyOf(seed), counter).update(plain).subarray(skippedBytes);
}

let newestKey = { seed: '', key: keyFor('') };

/** A blob is read in thousands of pieces, one after the other: its key is made once. */
function keyOf(seed: string): Buffer {
  if (newestKey.seed !== seed) newestKey = { seed, key: keyFor(seed) };
  return newestKey.key;
}

function keyFor(seed: string): Buffer {
  return createHash('sha256').update(seed).digest();
}

const digests = new Map<string, Promise<Digest>>();

/** Computed once per process: 2 GiB take a few seconds. */
function syntheticDigest(seed: string, sizeBytes: number): Promise<Digest> {
  const key = JSON.stringify([seed, sizeBytes]);
  const known = digests.get(key) ?? hashSynthetic(seed, sizeBytes);
  digests.set(key, known);
  return known;
}

async function hashSynthetic(seed: string, sizeBytes: number): Promise<Digest> {
  const hash = createHash('sha256');
  for (let offset = 0; offset < sizeBytes; offset += hashedAtOnceBytes) {
    hash.update(syntheticBytes(seed, offset, Math.min(hashedAtOnceBytes, sizeBytes - offset)));
    await nextTurn();
  }
  return `sha256:${hash.digest('hex')}` as Digest;
}

export function sha256Digest(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}
