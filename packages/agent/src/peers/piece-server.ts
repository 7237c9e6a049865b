/**
 * Answers piece requests, on streams that the other side opened and reuses. Whether the other side may ask at all was
 * settled before a stream comes here.
 *
 * 1. read one REQUEST; asking for more before its answer is out is against the protocol
 * 2. take an upload slot, or REFUSE busy
 * 3. read the piece from the store, or REFUSE not-held (a piece without attestation is of no use to anybody)
 * 4. send PIECE and the bytes at the reader's pace, give the slot back, go to 1
 */
import type { Stream } from '@libp2p/interface';
import {
  decodePieceRequest,
  encodePieceAnswer,
  FrameAssembler,
  MAX_PIECE_REQUEST_BODY_BYTES,
  type PieceRequest,
} from '@shoal/wire';
import type { Logger } from 'pino';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { Holdings } from './peer-network.ts';
import { sendPaced } from './sending.ts';
import { UploadSlots } from './upload-slots.ts';

/** A reader that takes nothing for this long loses its stream. */
const SEND_STALL_MS = 10_000;
const RETRY_AFTER_MS = 200;

export class PieceServer {
  readonly #slots: UploadSlots;
  readonly #holdings: Holdings;
  readonly #logger: Logger;
  readonly #onBytesSent: (bytes: number) => void;

  constructor(
    options: { uploadSlots: number },
    dependencies: { holdings: Holdings; logger: Logger; onBytesSent: (bytes: number) => void },
  ) {
    this.#slots = new UploadSlots({ slots: options.uploadSlots, queueLimit: options.uploadSlots * 2 });
    this.#holdings = dependencies.holdings;
    this.#logger = dependencies.logger;
    this.#onBytesSent = dependencies.onBytesSent;
  }

  /** Serves `stream` until it closes. Must be called before anything is awaited. @param onMisuse the peer broke the protocol */
  serve(stream: Stream, onMisuse: (error: Error) => void): void {
    const assembler = new FrameAssembler(MAX_PIECE_REQUEST_BODY_BYTES);
    const closed = new AbortController();
    let answering = false;
    let next: PieceRequest | undefined;
    const answerNext = () => {
      const request = next;
      if (request === undefined || closed.signal.aborted) return;
      next = undefined;
      answering = true;
      this.#answer(stream, request, closed.signal)
        .catch((error: unknown) => {
          this.#logger.debug({ err: error, digest: request.digest, index: request.index }, 'piece not sent');
          stream.abort(error instanceof Error ? error : new Error('piece not sent'));
        })
        .finally(() => {
          answering = false;
          answerNext();
        });
    };
    const onChunk = (chunk: Uint8Array) => {
      for (let offset = 0; offset < chunk.length; ) {
        const taken = assembler.take(chunk, offset);
        offset = taken.next;
        if (taken.body === undefined) continue;
        // One may come early: the last bytes can arrive before this side has heard that they left.
        if (next !== undefined) throw new Error('more than one request at once');
        next = decodePieceRequest(taken.body);
        if (!answering) answerNext();
      }
    };
    stream.addEventListener('message', ({ data }: { data: Uint8Array | Uint8ArrayList }) => {
      try {
        for (const chunk of data instanceof Uint8Array ? [data] : data) onChunk(chunk);
      } catch (error) {
        const misuse = error instanceof Error ? error : new Error('unreadable request');
        stream.abort(misuse);
        onMisuse(misuse);
      }
    });
    stream.addEventListener('close', () => closed.abort());
    stream.addEventListener('remoteCloseWrite', () => stream.abort(new Error('requester left')));
  }

  async #answer(stream: Stream, request: PieceRequest, closed: AbortSignal): Promise<void> {
    const refuse = (reason: 'busy' | 'not-held') =>
      stream.send(encodePieceAnswer({ type: 'refuse', reason, retryAfterMs: reason === 'busy' ? RETRY_AFTER_MS : 0 }));
    const release = await this.#slots.take(closed);
    try {
      if (closed.aborted) return;
      if (release === undefined) {
        refuse('busy');
        return;
      }
      const held = await this.#holdings.read(request.digest, request.index);
      if (closed.aborted) return;
      if (held === undefined || held.attestation.length === 0) {
        refuse('not-held');
        return;
      }
      const { bytes, attestation } = held;
      const head = encodePieceAnswer({ type: 'piece', length: bytes.length, attestation });
      await sendPaced(stream, head, bytes, SEND_STALL_MS);
      this.#onBytesSent(bytes.length);
    } finally {
      release?.();
    }
  }
}
