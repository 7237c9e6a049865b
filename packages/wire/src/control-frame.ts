/**
 * What travels on `/shoal/control/1`, the one long-lived stream of a connection. Both sides say HELLO first; WANT is
 * answered with MAP when the other holds anything, and from then on every change is pushed until UNWANT. Pieces that come
 * close together are pushed in one HAVE.
 */
import type { BlobId } from '@shoal/oci';
import { blobFields, FrameError, MAX_BLOB_FIELD_BYTES, openBody, sealFrame, textFields, uintField } from './frame.ts';

export const CONTROL_PROTOCOL = '/shoal/control/1';
/** Longest membership certificate, in bytes of its compact form. */
export const MAX_CERTIFICATE_BYTES = 4096;
export const MAX_ZONE_BYTES = 256;
/** A bit per piece: 524,288 pieces, 2 TiB of blob. */
export const MAX_BITMAP_BYTES: number = 64 * 1024;
/** Pieces that one HAVE may name; more go in several. */
export const MAX_HAVE_INDEXES = 1024;
const INDEX_BYTES = 4;
const MAX_INDEX = 0xffff_ffff;
const SIZE_FIELD_BYTES = 8;
export const MAX_CONTROL_BODY_BYTES: number = 2 + MAX_BLOB_FIELD_BYTES + SIZE_FIELD_BYTES + MAX_BITMAP_BYTES;

const HELLO = 1;
const WANT = 2;
const UNWANT = 3;
const MAP = 4;
const HAVE = 5;
const WITHDRAW = 6;

export type ControlFrame =
  | { type: 'hello'; certificate: string; zone: string }
  | { type: 'want' | 'unwant' | 'withdraw'; blob: BlobId }
  /** `bitmap`: a bit per piece, lowest first; the receiver checks that it fits `sizeBytes`. */
  | { type: 'map'; blob: BlobId; sizeBytes: number; bitmap: Uint8Array }
  /** Pieces that came since the last MAP or HAVE: at least one, at most MAX_HAVE_INDEXES. */
  | { type: 'have'; blob: BlobId; indexes: readonly number[] };

/** @throws FrameError too-long, value */
export function encodeControlFrame(frame: ControlFrame): Uint8Array {
  return sealFrame(...controlFields(frame), MAX_CONTROL_BODY_BYTES);
}

function controlFields(frame: ControlFrame): [type: number, fields: Uint8Array[]] {
  switch (frame.type) {
    case 'hello':
      return [
        HELLO,
        [...textFields(frame.certificate, MAX_CERTIFICATE_BYTES), ...textFields(frame.zone, MAX_ZONE_BYTES)],
      ];
    case 'want':
      return [WANT, [...blobFields(frame.blob)]];
    case 'unwant':
      return [UNWANT, [...blobFields(frame.blob)]];
    case 'withdraw':
      return [WITHDRAW, [...blobFields(frame.blob)]];
    case 'map':
      return [MAP, [...blobFields(frame.blob), uintField(frame.sizeBytes, SIZE_FIELD_BYTES), frame.bitmap]];
    case 'have':
      return [HAVE, [...blobFields(frame.blob), indexField(frame.indexes)]];
  }
}

/** Reads a body from `FrameAssembler`. A bitmap is a view of it. @throws FrameError */
export function decodeControlBody(body: Uint8Array): ControlFrame {
  const { type, fields } = openBody(body);
  const frame = ((): ControlFrame => {
    switch (type) {
      case HELLO:
        return {
          type: 'hello',
          certificate: fields.text(MAX_CERTIFICATE_BYTES),
          zone: fields.text(MAX_ZONE_BYTES),
        };
      case WANT:
        return { type: 'want', blob: fields.blob() };
      case UNWANT:
        return { type: 'unwant', blob: fields.blob() };
      case WITHDRAW:
        return { type: 'withdraw', blob: fields.blob() };
      case MAP: {
        const blob = fields.blob();
        const sizeBytes = fields.uint(SIZE_FIELD_BYTES);
        const bitmap = fields.rest();
        if (bitmap.length > MAX_BITMAP_BYTES) throw new FrameError('too-long', `bitmap of ${bitmap.length} bytes`);
        return { type: 'map', blob, sizeBytes, bitmap };
      }
      case HAVE:
        return { type: 'have', blob: fields.blob(), indexes: readIndexes(fields.rest()) };
      default:
        throw new FrameError('type', `control frame type ${type}`);
    }
  })();
  fields.end();
  return frame;
}

function indexField(indexes: readonly number[]): Uint8Array {
  checkIndexCount(indexes.length);
  const field = new Uint8Array(indexes.length * INDEX_BYTES);
  const view = new DataView(field.buffer);
  for (const [at, index] of indexes.entries()) {
    if (!Number.isInteger(index) || index < 0 || index > MAX_INDEX) throw new FrameError('value', `piece ${index}`);
    view.setUint32(at * INDEX_BYTES, index);
  }
  return field;
}

function readIndexes(field: Uint8Array): number[] {
  if (field.length % INDEX_BYTES !== 0) throw new FrameError('truncated', 'frame ends inside a piece index');
  const count = field.length / INDEX_BYTES;
  checkIndexCount(count);
  const view = new DataView(field.buffer, field.byteOffset, field.length);
  return Array.from({ length: count }, (_, at) => view.getUint32(at * INDEX_BYTES));
}

function checkIndexCount(count: number): void {
  if (count === 0) throw new FrameError('value', 'HAVE of no piece');
  if (count > MAX_HAVE_INDEXES)
    throw new FrameError('too-long', `HAVE of ${count} pieces, at most ${MAX_HAVE_INDEXES}`);
}
