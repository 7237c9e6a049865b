/**
 * The envelope of everything two agents say to each other: a 4-byte length, then that many bytes of body. A body is a
 * version byte, a type byte and the fields of that type. All numbers are big-endian. Every length is bounded before
 * anything is allocated for it, and a body that does not fit its type to the last byte is refused as a whole.
 */
import { type BlobId, parseBlobId } from '@shoal/oci';

export const FRAME_VERSION = 1;
const LENGTH_BYTES = 4;
/** A host of 253 characters with a port, and a sha512 digest. */
const MAX_BLOB_ID_BYTES = 253 + 6 + 1 + 7 + 128;
/** The longest that the name of a blob gets on the wire, its length included. */
export const MAX_BLOB_FIELD_BYTES: number = 2 + MAX_BLOB_ID_BYTES;

/**
 * `too-long`: a length beyond its bound. `truncated`: the body ends inside a field. `trailing`: bytes after the last
 * field. `version`, `type`: from another protocol. `value`: a field says something that cannot be.
 */
export type FrameErrorCode = 'too-long' | 'truncated' | 'trailing' | 'version' | 'type' | 'value';

export class FrameError extends Error {
  readonly code: FrameErrorCode;
  constructor(code: FrameErrorCode, message: string) {
    super(message);
    this.name = 'FrameError';
    this.code = code;
  }
}

/** Builds a frame. @throws FrameError too-long, when the body is longer than the readers of `maxBodyBytes` accept */
export function sealFrame(type: number, fields: readonly Uint8Array[], maxBodyBytes: number): Uint8Array {
  const bodyBytes = fields.reduce((sum, field) => sum + field.length, 2);
  if (bodyBytes > maxBodyBytes) throw new FrameError('too-long', `frame of ${bodyBytes} bytes`);
  const frame = new Uint8Array(LENGTH_BYTES + bodyBytes);
  new DataView(frame.buffer).setUint32(0, bodyBytes);
  frame[LENGTH_BYTES] = FRAME_VERSION;
  frame[LENGTH_BYTES + 1] = type;
  let offset = LENGTH_BYTES + 2;
  for (const field of fields) {
    frame.set(field, offset);
    offset += field.length;
  }
  return frame;
}

/** Opens a body: checks the version and returns the type and a reader placed at the first field. */
export function openBody(body: Uint8Array): { type: number; fields: FieldReader } {
  const fields = new FieldReader(body);
  const version = fields.uint(1);
  if (version !== FRAME_VERSION) throw new FrameError('version', `frame version ${version}`);
  return { type: fields.uint(1), fields };
}

/** Reads fields from front to back, and insists at the end that nothing is left over. */
export class FieldReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.length) throw new FrameError('truncated', 'frame ends inside a field');
    const field = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return field;
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.#offset);
  }

  /** An unsigned number of 1 to 8 bytes that a JavaScript number holds exactly. */
  uint(lengthBytes: number): number {
    let value = 0;
    for (const byte of this.take(lengthBytes)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw new FrameError('value', 'number too large');
    return value;
  }

  /** A field that says its own length in two bytes. */
  sized(maxBytes: number): Uint8Array {
    const length = this.uint(2);
    if (length > maxBytes) throw new FrameError('too-long', `field of ${length} bytes, at most ${maxBytes}`);
    return this.take(length);
  }

  text(maxBytes: number): string {
    const bytes = this.sized(maxBytes);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new FrameError('value', 'text is not UTF-8');
    }
  }

  blob(): BlobId {
    const blob = parseBlobId(this.text(MAX_BLOB_ID_BYTES));
    if (blob === undefined) throw new FrameError('value', 'not a blob of a registry');
    return blob;
  }

  end(): void {
    if (this.#offset !== this.#bytes.length) throw new FrameError('trailing', 'frame has bytes after its last field');
  }
}

/** The opposite of `FieldReader.uint`. */
export function uintField(value: number, lengthBytes: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 256 ** lengthBytes) {
    throw new FrameError('value', `${value} does not fit ${lengthBytes} bytes`);
  }
  const field = new Uint8Array(lengthBytes);
  let rest = value;
  for (let at = lengthBytes - 1; at >= 0; at--) {
    field[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return field;
}

/** The opposite of `FieldReader.sized`. */
export function sizedFields(bytes: Uint8Array, maxBytes: number): [length: Uint8Array, bytes: Uint8Array] {
  if (bytes.length > maxBytes) throw new FrameError('too-long', `field of ${bytes.length} bytes, at most ${maxBytes}`);
  return [uintField(bytes.length, 2), bytes];
}

/** The opposite of `FieldReader.text`. */
export function textFields(text: string, maxBytes: number): [length: Uint8Array, bytes: Uint8Array] {
  return sizedFields(new TextEncoder().encode(text), maxBytes);
}

/** The opposite of `FieldReader.blob`. */
export function blobFields(blob: BlobId): [length: Uint8Array, text: Uint8Array] {
  return textFields(blob, MAX_BLOB_ID_BYTES);
}

/**
 * Puts frame bodies together from chunks cut anywhere. It holds at most one unfinished body, and knows that body to be
 * within its bound before it makes room for it.
 */
export class FrameAssembler {
  readonly #maxBodyBytes: number;
  readonly #length = new Uint8Array(LENGTH_BYTES);
  #lengthHave = 0;
  #body: Uint8Array | undefined;
  #bodyHave = 0;

  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes;
  }

  /**
   * Consumes `chunk` from `offset` up to the end of one frame, or to its own end. `next` is where it stopped; `body` is
   * there when a frame ended, and may be a view of `chunk`.
   * @throws FrameError too-long, truncated
   */
  take(chunk: Uint8Array, offset: number): { next: number; body?: Uint8Array } {
    let next = offset;
    while (this.#lengthHave < LENGTH_BYTES) {
      const byte = chunk[next];
      if (byte === undefined) return { next };
      this.#length[this.#lengthHave++] = byte;
      next++;
    }
    const bodyBytes = new DataView(this.#length.buffer).getUint32(0);
    if (bodyBytes > this.#maxBodyBytes) throw new FrameError('too-long', `frame of ${bodyBytes} bytes`);
    if (bodyBytes < 2) throw new FrameError('truncated', `frame of ${bodyBytes} bytes`);
    const available = chunk.length - next;
    if (this.#body === undefined && available >= bodyBytes) {
      this.#lengthHave = 0;
      return { next: next + bodyBytes, body: chunk.subarray(next, next + bodyBytes) };
    }
    this.#body ??= new Uint8Array(bodyBytes);
    const part = chunk.subarray(next, next + Math.min(available, bodyBytes - this.#bodyHave));
    this.#body.set(part, this.#bodyHave);
    this.#bodyHave += part.length;
    next += part.length;
    if (this.#bodyHave < bodyBytes) return { next };
    const body = this.#body;
    this.#body = undefined;
    this.#bodyHave = 0;
    this.#lengthHave = 0;
    return { next, body };
  }
}
