/** Reads a run of consecutive pieces of one blob from the origin, in order, one piece in memory at a time. */
import { createHash } from 'node:crypto';
import type { Digest } from '@shoal/oci';
import { pieceExtent } from '@shoal/swarm';
import { type OriginBody, type OriginCall, type OriginClient, OriginError } from '../origin/origin-client.ts';
import type { PullSource } from './pulls.ts';

export interface OriginPiece {
  index: number;
  /** Valid until the next piece is asked for. */
  bytes: Uint8Array;
  sha256: Uint8Array;
}

export interface OriginRun {
  digest: Digest;
  sizeBytes: number;
  /** Pieces [from, to). */
  from: number;
  to: number;
}

/**
 * Yields each piece of the run. Bytes before the run (a registry that ignores Range sends them) are dropped.
 * @param onBytes called as bytes come in, before a piece is whole
 * @throws OriginError; `invalid` when the origin's blob has another size
 */
export async function* readOriginRun(
  origin: OriginClient,
  source: PullSource,
  run: OriginRun,
  call: OriginCall,
  onBytes: (bytes: number) => void,
): AsyncGenerator<OriginPiece> {
  if (source.kind === 'manifest') {
    const { bytes } = await origin.manifest(source.repository, run.digest, source.accept ?? '*/*', call);
    yield* piecesOf(run, [bytes], 0);
    return;
  }
  const start = pieceExtent(run.sizeBytes, run.from).offset;
  const last = pieceExtent(run.sizeBytes, run.to - 1);
  const end = last.offset + last.length;
  const wholeBlob = start === 0 && end === run.sizeBytes;
  const body: OriginBody = await origin.blob(
    source.repository,
    run.digest,
    wholeBlob ? { offset: 0 } : { offset: start, end },
    call,
  );
  try {
    if (body.sizeBytes !== undefined && body.sizeBytes !== run.sizeBytes) {
      throw new OriginError('invalid', `the origin says ${body.sizeBytes} bytes, the manifest ${run.sizeBytes}`);
    }
    onBytes(0);
    yield* piecesOf(run, body.chunks, body.offset, onBytes);
  } finally {
    body.close();
  }
}

async function* piecesOf(
  run: OriginRun,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  firstByte: number,
  onBytes?: (bytes: number) => void,
): AsyncGenerator<OriginPiece> {
  let index = run.from;
  let extent = pieceExtent(run.sizeBytes, index);
  const buffer = Buffer.allocUnsafe(extent.length);
  let filled = 0;
  let position = firstByte;
  for await (const chunk of chunks) {
    onBytes?.(chunk.length);
    let at = Math.min(chunk.length, Math.max(0, extent.offset + filled - position));
    while (at < chunk.length && index < run.to) {
      const take = Math.min(chunk.length - at, extent.length - filled);
      buffer.set(chunk.subarray(at, at + take), filled);
      filled += take;
      at += take;
      if (filled < extent.length) continue;
      const bytes = buffer.subarray(0, filled);
      yield { index, bytes, sha256: createHash('sha256').update(bytes).digest() };
      filled = 0;
      index++;
      extent = index < run.to ? pieceExtent(run.sizeBytes, index) : extent;
    }
    position += chunk.length;
    if (index === run.to) return;
  }
  throw new OriginError('cut-short', `the origin's body ended at byte ${position}`);
}
