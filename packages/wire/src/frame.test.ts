import type { BlobId } from '@shoal/oci';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attestedBytes, decodeAttestation, encodeAttestation } from './attestation.ts';
import {
  type ControlFrame,
  decodeControlBody,
  encodeControlFrame,
  MAX_CONTROL_BODY_BYTES,
  MAX_HAVE_INDEXES,
} from './control-frame.ts';
import { type DialBackFrame, decodeDialBackBody, encodeDialBackFrame, MAX_DIALLED_BACK } from './dial-back-frame.ts';
import { FrameAssembler, FrameError } from './frame.ts';
import {
  decodePieceAnswer,
  decodePieceCall,
  encodePieceAnswer,
  encodePieceRequest,
  PIECE_RECEIVED,
} from './piece-frame.ts';

const hex = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes).toString('hex'));
const blob: fc.Arbitrary<BlobId> = fc
  .tuple(
    fc.constantFrom('docker.io', 'localhost:5000', '[::1]:65535'),
    fc.oneof(
      hex(32).map((text) => `sha256:${text}`),
      hex(64).map((text) => `sha512:${text}`),
    ),
  )
  .map(([registry, digest]) => `${registry}/${digest}` as BlobId);
const index = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const sizeBytes = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const text = fc.string({ maxLength: 64, unit: 'grapheme' }).filter((zone) => Buffer.byteLength(zone) <= 256);
const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const controlFrame: fc.Arbitrary<ControlFrame> = fc.oneof(
  fc.record({ type: fc.constant('hello' as const), certificate: text, zone: text }),
  fc.record({ type: fc.constantFrom('want' as const, 'unwant' as const, 'withdraw' as const), blob }),
  fc.record({ type: fc.constant('map' as const), blob, sizeBytes, bitmap: fc.uint8Array({ maxLength: 4096 }) }),
  fc.record({ type: fc.constant('have' as const), blob, indexes: fc.array(index, { minLength: 1, maxLength: 50 }) }),
);

/** Feeds `bytes` cut at `cuts` and returns the bodies. */
function assemble(bytes: Uint8Array, chunkBytes: number, maxBodyBytes: number): Uint8Array[] {
  const assembler = new FrameAssembler(maxBodyBytes);
  const bodies: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    const chunk = bytes.subarray(start, start + chunkBytes);
    for (let offset = 0; offset < chunk.length; ) {
      const { next, body } = assembler.take(chunk, offset);
      if (body !== undefined) bodies.push(body);
      offset = next;
    }
  }
  return bodies;
}

const onlyFrameErrors = (decode: () => unknown) => {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(FrameError);
  }
};

describe('control frames', () => {
  test('come back as they were, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(controlFrame, { maxLength: 5 }), fc.integer({ min: 1, max: 200 }), (frames, chunkBytes) => {
        const stream = Buffer.concat(frames.map(encodeControlFrame));
        expect(assemble(stream, chunkBytes, MAX_CONTROL_BODY_BYTES).map(decodeControlBody)).toEqual(
          frames.map((frame) => (frame.type === 'map' ? { ...frame, bitmap: expect.anything() } : frame)),
        );
      }),
    );
  });

  test('keep the bits of a map', () => {
    const bitmap = Uint8Array.of(0, 255, 7);
    const frame = encodeControlFrame({
      type: 'map',
      blob: `docker.io/sha256:${'a'.repeat(64)}` as BlobId,
      sizeBytes: 9,
      bitmap,
    });
    expect(decodeControlBody(frame.subarray(4))).toMatchObject({ bitmap: Uint8Array.from(bitmap) });
  });

  test('are refused when a byte is missing or too many', () => {
    fc.assert(
      fc.property(controlFrame, (frame) => {
        const body = encodeControlFrame(frame).subarray(4);
        if (frame.type === 'map') return;
        expect(() => decodeControlBody(body.subarray(0, -1))).toThrow(FrameError);
        expect(() => decodeControlBody(Buffer.concat([body, Buffer.alloc(1)]))).toThrow(FrameError);
      }),
    );
  });

  test('never crash the decoder', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => onlyFrameErrors(() => decodeControlBody(bytes))),
    );
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), fc.uint8Array({ maxLength: 200 }), (type, bytes) =>
        onlyFrameErrors(() => decodeControlBody(Buffer.from([1, type, ...bytes]))),
      ),
    );
  });

  test('of another version are refused', () => {
    expect(() => decodeControlBody(Uint8Array.of(2, 2))).toThrow(expect.objectContaining({ code: 'version' }));
  });

  test('that are longer than a reader accepts are not made', () => {
    const frame = { type: 'hello', certificate: 'x'.repeat(4097), zone: '' } as const;
    expect(() => encodeControlFrame(frame)).toThrow(expect.objectContaining({ code: 'too-long' }));
  });
});

describe('HAVE', () => {
  const blobOf = (): BlobId => `docker.io/sha256:${'a'.repeat(64)}` as BlobId;
  const have = (indexes: number[]) => encodeControlFrame({ type: 'have', blob: blobOf(), indexes });
  const upTo = (count: number) => [...Array(count).keys()];

  test('names as many pieces as it may, and comes back as it was', () => {
    const indexes = upTo(MAX_HAVE_INDEXES).map((n) => 0xffff_ffff - n);
    expect(decodeControlBody(have(indexes).subarray(4))).toEqual({ type: 'have', blob: blobOf(), indexes });
  });

  test.each([
    ['no piece', [], 'value'],
    ['too many pieces', upTo(MAX_HAVE_INDEXES + 1), 'too-long'],
    ['a negative piece', [-1], 'value'],
    ['half a piece', [0.5], 'value'],
    ['a piece beyond four bytes', [2 ** 32], 'value'],
  ])('of %s is not made', (_what, indexes, code) => {
    expect(() => have(indexes)).toThrow(expect.objectContaining({ code }));
  });

  test('of too many or no pieces is not read', () => {
    const full = have(upTo(MAX_HAVE_INDEXES)).subarray(4);
    const one = have([7]).subarray(4);
    expect(() => decodeControlBody(Buffer.concat([full, Buffer.alloc(4)]))).toThrow(
      expect.objectContaining({ code: 'too-long' }),
    );
    expect(() => decodeControlBody(one.subarray(0, -4))).toThrow(expect.objectContaining({ code: 'value' }));
    expect(() => decodeControlBody(one.subarray(0, -1))).toThrow(expect.objectContaining({ code: 'truncated' }));
  });
});

describe('the assembler', () => {
  test('refuses a length beyond its bound before it makes room', () => {
    const assembler = new FrameAssembler(100);
    expect(() => assembler.take(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0)).toThrow(
      expect.objectContaining({ code: 'too-long' }),
    );
  });

  test('survives random bytes and always moves on', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.integer({ min: 1, max: 50 }), (bytes, chunkBytes) =>
        onlyFrameErrors(() => assemble(bytes, chunkBytes, 100)),
      ),
    );
  });
});

describe('piece frames', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(fc.record({ blob, index, patience: fc.integer({ min: 0, max: 1_000 }) }), (request) => {
        expect(decodePieceCall(encodePieceRequest(request).subarray(4))).toEqual(request);
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 22 }), fc.uint8Array({ maxLength: 4199 }), (length, attestation) => {
        const answer = { type: 'piece', length, attestation } as const;
        expect(decodePieceAnswer(encodePieceAnswer(answer).subarray(4))).toEqual(answer);
      }),
    );
    expect(decodePieceCall(PIECE_RECEIVED.subarray(4))).toBe('received');
    for (const reason of ['busy', 'not-held'] as const) {
      const refusal = { type: 'refuse', reason, retryAfterMs: 250 } as const;
      expect(decodePieceAnswer(encodePieceAnswer(refusal).subarray(4))).toEqual(refusal);
    }
  });

  test('never crash their decoders', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
        const body = Buffer.from([1, type, ...bytes]);
        onlyFrameErrors(() => decodePieceCall(body));
        onlyFrameErrors(() => decodePieceAnswer(body));
      }),
    );
  });
});

describe('attestations', () => {
  const attestation = fc.record({ index, sha256: exactly(32), signature: exactly(64), certificate: text });

  test('come back as they were', () => {
    fc.assert(
      fc.property(attestation, (value) => {
        expect(decodeAttestation(encodeAttestation(value))).toEqual(value);
      }),
    );
  });

  test('never crash the decoder', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) =>
        onlyFrameErrors(() => decodeAttestation(Buffer.from([1, ...bytes]))),
      ),
    );
  });

  test('sign different bytes for different pieces', () => {
    const piece = fc.record({ blob, sizeBytes, index });
    fc.assert(
      fc.property(piece, piece, exactly(32), (one, other, sha256) => {
        const same = one.blob === other.blob && one.sizeBytes === other.sizeBytes && one.index === other.index;
        const equal = Buffer.compare(attestedBytes(one, sha256), attestedBytes(other, sha256)) === 0;
        expect(equal).toBe(same);
      }),
    );
  });
});

describe('dial-back frames', () => {
  const address = fc.string({ maxLength: 60, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 256);
  const frame: fc.Arbitrary<DialBackFrame> = fc.oneof(
    fc.record({ type: fc.constantFrom('ask' as const, 'refuse' as const) }),
    fc.record({
      type: fc.constant('answer' as const),
      tried: fc.array(fc.record({ address, reached: fc.boolean() }), { maxLength: MAX_DIALLED_BACK }),
    }),
  );

  test('come back as they were, and never half', () => {
    fc.assert(
      fc.property(frame, (sent) => {
        const body = encodeDialBackFrame(sent).subarray(4);
        expect(decodeDialBackBody(body)).toEqual(sent);
        expect(() => decodeDialBackBody(body.subarray(0, -1))).toThrow(FrameError);
        expect(() => decodeDialBackBody(Buffer.concat([body, Buffer.alloc(1)]))).toThrow(FrameError);
      }),
    );
  });

  test('never crash the decoder', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 100 }), (type, bytes) =>
        onlyFrameErrors(() => decodeDialBackBody(Buffer.from([1, type, ...bytes]))),
      ),
    );
  });

  test('about more addresses than may be asked for are not made', () => {
    const tried = Array.from({ length: MAX_DIALLED_BACK + 1 }, () => ({ address: 'x'.repeat(256), reached: true }));
    expect(() => encodeDialBackFrame({ type: 'answer', tried })).toThrow(expect.objectContaining({ code: 'too-long' }));
  });
});
