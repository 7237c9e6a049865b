/**
 * What travels on `/shoal/piece/1`, a bulk stream that its opener reuses for one request after another: REQUEST, and
 * as the answer either REFUSE or PIECE, which the raw bytes of the piece follow outside any frame. When the last of them
 * is there the opener says RECEIVED: bytes that were sent may still stand in some buffer, and only this tells when they left it.
 */
import type { BlobId } from '@shoal/oci';
import { MAX_ATTESTATION_BYTES } from './attestation.ts';
import { blobFields, FrameError, MAX_BLOB_FIELD_BYTES, openBody, sealFrame, sizedFields, uintField } from './frame.ts';

export const PIECE_PROTOCOL = '/shoal/piece/1';
export const MAX_PIECE_REQUEST_BODY_BYTES: number = 2 + MAX_BLOB_FIELD_BYTES + 4 + 2;
export const MAX_PIECE_ANSWER_BODY_BYTES: number = 2 + 4 + 2 + MAX_ATTESTATION_BYTES;
/** More than any piece; the exact length is known to the requester, who insists on it. */
const MAX_LENGTH = 64 * 1024 * 1024;
const MAX_RETRY_AFTER_MS = 60_000;

const REQUEST = 1;
const PIECE = 2;
const REFUSE = 3;
const RECEIVED = 4;
const BUSY = 1;
const NOT_HELD = 2;

export interface PieceRequest {
  blob: BlobId;
  index: number;
  /** Who has the least is served first: how much of the blob the asker has, per mille; 0 when a reader waits for the piece. */
  patience: number;
}

const MAX_PATIENCE = 1_000;

export type PieceAnswer =
  /** `length` raw bytes follow. */
  { type: 'piece'; length: number; attestation: Uint8Array } | PieceRefusal;

export interface PieceRefusal {
  type: 'refuse';
  reason: 'busy' | 'not-held';
  retryAfterMs: number;
}

export function encodePieceRequest(request: PieceRequest): Uint8Array {
  const { blob, index, patience } = request;
  checkAtMost(patience, MAX_PATIENCE);
  const fields = [...blobFields(blob), uintField(index, 4), uintField(patience, 2)];
  return sealFrame(REQUEST, fields, MAX_PIECE_REQUEST_BODY_BYTES);
}

/** What the opener says when the last byte of a piece is there. */
export const PIECE_RECEIVED: Uint8Array = sealFrame(RECEIVED, [], MAX_PIECE_REQUEST_BODY_BYTES);

/** What the opener of the stream said. @throws FrameError */
export function decodePieceCall(body: Uint8Array): PieceRequest | 'received' {
  const { type, fields } = openBody(body);
  if (type === RECEIVED) {
    fields.end();
    return 'received';
  }
  if (type !== REQUEST) throw new FrameError('type', `piece request type ${type}`);
  const request = {
    blob: fields.blob(),
    index: fields.uint(4),
    patience: checkAtMost(fields.uint(2), MAX_PATIENCE),
  };
  fields.end();
  return request;
}

/** @throws FrameError too-long, value */
export function encodePieceAnswer(answer: PieceAnswer): Uint8Array {
  if (answer.type === 'piece') {
    checkAtMost(answer.length, MAX_LENGTH);
    const fields = [uintField(answer.length, 4), ...sizedFields(answer.attestation, MAX_ATTESTATION_BYTES)];
    return sealFrame(PIECE, fields, MAX_PIECE_ANSWER_BODY_BYTES);
  }
  checkAtMost(answer.retryAfterMs, MAX_RETRY_AFTER_MS);
  const reason = answer.reason === 'busy' ? BUSY : NOT_HELD;
  return sealFrame(REFUSE, [uintField(reason, 1), uintField(answer.retryAfterMs, 4)], MAX_PIECE_ANSWER_BODY_BYTES);
}

/** The attestation is a view of `body`. @throws FrameError */
export function decodePieceAnswer(body: Uint8Array): PieceAnswer {
  const { type, fields } = openBody(body);
  let answer: PieceAnswer;
  if (type === PIECE) {
    const length = checkAtMost(fields.uint(4), MAX_LENGTH);
    answer = { type: 'piece', length, attestation: fields.sized(MAX_ATTESTATION_BYTES) };
  } else if (type === REFUSE) {
    const reason = fields.uint(1);
    if (reason !== BUSY && reason !== NOT_HELD) throw new FrameError('value', `refusal ${reason}`);
    const retryAfterMs = checkAtMost(fields.uint(4), MAX_RETRY_AFTER_MS);
    answer = { type: 'refuse', reason: reason === BUSY ? 'busy' : 'not-held', retryAfterMs };
  } else {
    throw new FrameError('type', `piece answer type ${type}`);
  }
  fields.end();
  return answer;
}

function checkAtMost(value: number, max: number): number {
  if (value > max) throw new FrameError('value', `${value} is more than ${max}`);
  return value;
}
