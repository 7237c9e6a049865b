/** A slot is given back when the reader says RECEIVED; who never says so loses it, and is not served for a while. */
import { randomBytes } from 'node:crypto';
import type { Stream } from '@libp2p/interface';
import type { BlobId } from '@shoal/oci';
import { decodePieceAnswer, encodePieceRequest, PIECE_RECEIVED } from '@shoal/wire';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PieceServer } from './piece-server.ts';

const blob = `a.test/sha256:${'a'.repeat(64)}` as BlobId;
const REQUEST = encodePieceRequest({ blob, index: 0, patience: 0 });

/** The server's end of a stream whose reader takes everything at once. */
class FakeStream extends EventTarget {
  status = 'open';
  writableNeedsDrain = false;
  writeBufferLength = 0;
  readonly answers: string[] = [];

  send(data: { subarray(from: number): Uint8Array; slice?: () => Uint8Array }): void {
    const bytes = data instanceof Uint8Array ? data : (data.slice?.() ?? data.subarray(0));
    const frameEnd = 4 + Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32BE();
    this.answers.push(decodePieceAnswer(bytes.subarray(4, frameEnd)).type);
  }

  abort(): void {
    this.status = 'aborted';
    this.dispatchEvent(new Event('close'));
  }

  says(frame: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: frame }));
  }
}

let server: PieceServer;

function streamOf(peerId: string): FakeStream {
  const stream = new FakeStream();
  const requester = { peerId, wasServed: () => undefined, uploadLane: undefined };
  server.serve(stream as unknown as Stream, requester, () => undefined);
  return stream;
}

beforeEach(() => {
  vi.useFakeTimers();
  const held = { bytes: randomBytes(1_000), attestation: randomBytes(100) };
  server = new PieceServer(
    { uploadSlots: 1 },
    {
      holdings: { read: async () => held } as never,
      logger: pino({ level: 'silent' }),
      now: () => Date.now(),
      onBytesSent: () => undefined,
    },
  );
});
afterEach(() => {
  vi.useRealTimers();
});

test('the next one is served when the first has said RECEIVED', async () => {
  const [first, second] = [streamOf('a'), streamOf('b')];
  first.says(REQUEST);
  await vi.advanceTimersByTimeAsync(1);
  expect(first.answers).toEqual(['piece']);
  second.says(REQUEST);
  await vi.advanceTimersByTimeAsync(100);
  expect(second.answers).toEqual([]);
  first.says(PIECE_RECEIVED);
  await vi.advanceTimersByTimeAsync(1);
  expect(second.answers).toEqual(['piece']);
});

test('who keeps a slot for 10 s loses it and is refused for 30 s', async () => {
  const [first, second] = [streamOf('a'), streamOf('b')];
  first.says(REQUEST);
  await vi.advanceTimersByTimeAsync(9_900);
  second.says(REQUEST);
  await vi.advanceTimersByTimeAsync(99);
  expect(second.answers).toEqual([]);
  await vi.advanceTimersByTimeAsync(2);
  expect(first.status).toBe('aborted');
  expect(second.answers).toEqual(['piece']);
  second.says(PIECE_RECEIVED);

  const again = streamOf('a');
  again.says(REQUEST);
  await vi.advanceTimersByTimeAsync(1);
  expect(again.answers).toEqual(['refuse']);
  await vi.advanceTimersByTimeAsync(30_000);
  again.says(REQUEST);
  await vi.advanceTimersByTimeAsync(1);
  expect(again.answers).toEqual(['refuse', 'piece']);
});
