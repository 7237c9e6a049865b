/** What an answer to `GET blobs/DIGEST` promises: where its bytes start, how many there must be, how large the blob is. */
import { contentLength } from './body.ts';
import { parseContentRange } from './content-range.ts';
import type { Answer } from './exchange.ts';
import { statusFailure } from './failure.ts';
import { OriginError } from './origin-client.ts';

export interface AskedRange {
  offset: number;
  end: number | undefined;
}

export interface BlobPromise {
  offset: number;
  /** Whether the registry honoured Range. */
  ranged: boolean;
  sizeBytes: number | undefined;
  /** How many bytes must come for the body to be whole; undefined when the registry does not say. */
  expectedBytes: number | undefined;
  /** How many may come. */
  maxBytes: number;
}

export function isRanged(asked: AskedRange): boolean {
  return asked.offset > 0 || asked.end !== undefined;
}

/** @throws OriginError for every status but 200 and a fitting 206 */
export function readBlobAnswer(answer: Answer, asked: AskedRange, nowMs: number): BlobPromise {
  const { status } = answer;
  const announced = contentLength(answer);
  if (status === 200) {
    return {
      offset: 0,
      ranged: false,
      sizeBytes: announced,
      expectedBytes: announced,
      maxBytes: announced ?? Infinity,
    };
  }
  if (status !== 206) throw statusFailure(answer, nowMs);
  const range = parseContentRange(answer.headers['content-range']);
  const served = range?.served;
  const sizeBytes = range?.sizeBytes;
  const fits =
    isRanged(asked) &&
    served !== undefined &&
    served.start === asked.offset &&
    served.end <= (asked.end ?? Infinity) &&
    (announced === undefined || announced === served.end - served.start);
  if (!fits) throw new OriginError('invalid', `${answer.url.host} answered with another range`, { status });
  // A server may send less than was asked for (RFC 9110 §15.3.7); the body then counts as cut short at its end.
  const wantedEnd = Math.min(asked.end ?? Infinity, sizeBytes ?? Infinity);
  return {
    offset: asked.offset,
    ranged: true,
    sizeBytes,
    expectedBytes: (wantedEnd === Infinity ? served.end : wantedEnd) - asked.offset,
    maxBytes: served.end - served.start,
  };
}
