/** Reads a run of consecutive pieces of one blob from the origin, in order. */
import { createHash } from 'node:crypto';
import { digestOf } from '@shoal/oci';
import { pieceExtent } from '@shoal/swarm';
import { type OriginClient, OriginError } from '../origin/origin-client.ts';
import type { SizedBlob } from './blob-size.ts';
import { callFor, type PullSource } from './pulls.ts';

export interface OriginPiece {
  index: number;
  /** Valid until the piece after the next one is asked for, so that it can be kept while the next one comes in. */
  bytes: Uint8Array;
  sha256: Uint8Array;
}

export interface OriginRun extends SizedBlob {
  /** Pieces [from, to). */
  from: number;
  /** May change while the run is read; it then ends there. */
  to: number;
  /** Whether a body that starts at the blob's start is fine although the run starts later; what comes before is dropped. */
  whole: boolean;
}

export interface OriginRunEvents {
  /** As bytes come in, before a piece is whole; what it gives is waited for, and the sender with it. */
  onBytes(bytes: number): Promise<void> | undefined;
  /** What came of asking for a range. Until this resolves the run may still become longer. */
  onRanges(honoured: boolean): Promise<void>;
}

/** The origin sends the whole body to a request for a range, and the run does not start where the body does. */
export class NoRange extends Error {}

/** @throws OriginError, NoRange; OriginError `invalid` when the origin's blob has another size */
export async function* readOriginRun(
  origin: OriginClient,
  source: PullSource,
  run: OriginRun,
  signal: AbortSignal,
  events: OriginRunEvents,
): AsyncGenerator<OriginPiece> {
  const call = callFor(source, signal);
  const digest = digestOf(run.blob);
  if (source.kind === 'manifest') {
    const { bytes } = await origin.manifest(source.repository, digest, source.accept ?? '*/*', call);
    yield* piecesOf(run, [bytes], 0, events);
    return;
  }
  const { offset } = pieceExtent(run.sizeBytes, run.from);
  const last = pieceExtent(run.sizeBytes, run.to - 1);
  const end = last.offset + last.length;
  const everything = offset === 0 && end === run.sizeBytes;
  const body = await origin.blob(source.repository, digest, everything ? { offset } : { offset, end }, call);
  try {
    if (body.sizeBytes !== undefined && body.sizeBytes !== run.sizeBytes) {
      throw new OriginError('invalid', `the origin says ${body.sizeBytes} bytes, the manifest ${run.sizeBytes}`);
    }
    if (!body.ranged && offset > 0 && !run.whole) throw new NoRange();
    void events.onBytes(0);
    const growing = everything ? undefined : events.onRanges(body.ranged);
    yield* piecesOf(run, body.chunks, body.offset, events, growing);
  } finally {
    body.close();
  }
}

async function* piecesOf(
  run: OriginRun,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  firstByte: number,
  events: OriginRunEvents,
  growing?: Promise<void>,
): AsyncGenerator<OriginPiece> {
  let index = run.from;
  let extent = pieceExtent(run.sizeBytes, index);
  let buffer = Buffer.allocUnsafe(extent.length);
  let other: typeof buffer | undefined;
  let hash = createHash('sha256');
  let filled = 0;
  let position = firstByte;
  for await (const chunk of chunks) {
    if (index >= run.to) return;
    const leave = events.onBytes(chunk.length);
    if (leave !== undefined) await leave;
    let at = Math.min(chunk.length, Math.max(0, extent.offset - position));
    while (at < chunk.length) {
      const part = chunk.subarray(at, at + extent.length - filled);
      buffer.set(part, filled);
      hash.update(part);
      filled += part.length;
      at += part.length;
      if (filled < extent.length) continue;
      yield { index, bytes: buffer.subarray(0, filled), sha256: hash.digest() };
      index++;
      if (index >= run.to) await growing;
      if (index >= run.to) return;
      extent = pieceExtent(run.sizeBytes, index);
      [buffer, other] = [other ?? Buffer.allocUnsafe(extent.length), buffer];
      hash = createHash('sha256');
      filled = 0;
    }
    position += chunk.length;
  }
  throw new OriginError('cut-short', `the origin's body ended at byte ${position}`);
}

/**
 * One piece by itself.
 * @param options.whole read up to the piece from the blob's start, should the origin ignore ranges
 * @throws OriginError, NoRange
 */
export async function readOriginPiece(
  origin: OriginClient,
  source: PullSource,
  { blob, sizeBytes, index }: SizedBlob & { index: number },
  { whole }: { whole: boolean },
  signal: AbortSignal,
): Promise<OriginPiece> {
  const run = { blob, sizeBytes, from: index, to: index + 1, whole };
  for await (const piece of readOriginRun(origin, source, run, signal, NOBODY_LISTENS)) return piece;
  throw new OriginError('cut-short', `piece ${index} did not come`);
}

const NOBODY_LISTENS: OriginRunEvents = { onBytes: () => undefined, onRanges: () => Promise.resolve() };
