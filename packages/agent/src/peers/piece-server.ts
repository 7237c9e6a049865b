/**
 * Answers piece requests, on streams that the other side opened and reuses. Whether the other side may ask at all was
 * settled before a stream comes here.
 *
 * 1. read one REQUEST; asking for more before its answer is out is against the protocol
 * 2. take an upload slot, or REFUSE busy
 * 3. read the piece from the store, or REFUSE not-held (a piece without attestation is of no use to anybody)
 * 4. send PIECE and the bytes at the reader's pace and within the upload rates
 * 5. when the reader has RECEIVED them, give the slot back and go to 1
 *
 * A slot that was free as soon as the bytes are handed down would let any number of pieces stand in the buffers of slow links.
 */
import type { Stream } from '@libp2p/interface';
import { uploadLimits } from '@shoal/swarm';
import {
  decodePieceCall,
  encodePieceAnswer,
  FrameAssembler,
  MAX_PIECE_REQUEST_BODY_BYTES,
  type PieceRequest,
} from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Uint8ArrayList } from 'uint8arraylist';
import { burstBytes, type RateLane, RateLimit } from '../rate/rate-limit.ts';
import type { Holdings } from './peer-network.ts';
import { CHUNK_BYTES, sendPaced } from './sending.ts';
import { UploadSlots } from './upload-slots.ts';

/** A reader that takes nothing for this long loses its stream. */
const SEND_STALL_MS = 10_000;
/** From the last bytes handed down until the reader has them. */
const RECEIVED_WITHIN_MS = 10_000;
/** Who let a slot run out like that is served no more for this long. */
const UNSERVED_MS = 30_000;
const UNSERVED_RETRY_MS = 1_000;
const MAX_UNSERVED = 1_024;
/** Under an upload rate there are only so many slots that each carries this much per second, or readers give up on all. */
const MIN_BYTES_PER_SECOND_AND_SLOT: number = 256 * 1024;

/** The agent at the other end of a stream. */
export interface Requester {
  readonly peerId: string;
  wasServed(): void;
  /** Its own upload rate. */
  readonly uploadLane: RateLane | undefined;
}

export interface PieceServerOptions {
  uploadSlots: number;
  /** To all peers together. @default no limit */
  uploadBytesPerSecond?: number | undefined;
  /** To one peer. @default no limit */
  uploadBytesPerSecondPerPeer?: number | undefined;
}

export interface PieceServerDependencies {
  holdings: Holdings;
  logger: Logger;
  /** Monotonic milliseconds. */
  now: () => number;
  onBytesSent: (bytes: number) => void;
}

interface Rates {
  /** `Infinity`: no limit. */
  totalBytesPerSecond: number;
  chunkBytes: number;
  slots: ReturnType<typeof uploadLimits>;
}

export class PieceServer {
  readonly #slots: UploadSlots;
  #rates: Rates;
  #lane: RateLane | undefined;
  /** Until when, by PeerId. */
  readonly #unserved = new LRUCache<string, number>({ max: MAX_UNSERVED });
  readonly #dependencies: PieceServerDependencies;
  readonly #answering = new Set<Promise<void>>();

  constructor(options: PieceServerOptions, dependencies: PieceServerDependencies) {
    this.#dependencies = dependencies;
    this.#rates = ratesOf(options);
    this.#lane = this.#newLane();
    this.#slots = new UploadSlots(this.#rates.slots, { now: dependencies.now });
  }

  /** Pieces on their way keep to what they began with. */
  retune(options: PieceServerOptions): void {
    const before = this.#rates.totalBytesPerSecond;
    this.#rates = ratesOf(options);
    if (this.#rates.totalBytesPerSecond !== before) this.#lane = this.#newLane();
    this.#slots.resize(this.#rates.slots);
  }

  get depth(): { sending: number; waiting: number } {
    return this.#slots.depth;
  }

  #newLane(): RateLane | undefined {
    const { totalBytesPerSecond: bytesPerSecond } = this.#rates;
    return bytesPerSecond === Infinity ? undefined : new RateLimit({ bytesPerSecond }, this.#dependencies.now).lane();
  }

  /** Serves `stream` until it closes. Must be called before anything is awaited. @param onMisuse the peer broke the protocol */
  serve(stream: Stream, requester: Requester, onMisuse: (error: Error) => void): void {
    const assembler = new FrameAssembler(MAX_PIECE_REQUEST_BODY_BYTES);
    const closed = new AbortController();
    let answering = false;
    let next: PieceRequest | undefined;
    let received = (): void => undefined;
    const answerNext = () => {
      const request = next;
      if (request === undefined || closed.signal.aborted) return;
      next = undefined;
      answering = true;
      const arrival = new Promise<void>((resolve) => {
        received = resolve;
      });
      const answer = this.#answer(stream, requester, request, arrival, closed.signal);
      this.#answering.add(answer);
      answer
        .catch((error: unknown) => {
          const { blob, index } = request;
          this.#dependencies.logger.debug({ err: error, blob, index }, 'piece not sent');
          stream.abort(error instanceof Error ? error : new Error('piece not sent'));
        })
        .finally(() => {
          this.#answering.delete(answer);
          answering = false;
          answerNext();
        });
    };
    const onChunk = (chunk: Uint8Array) => {
      for (let offset = 0; offset < chunk.length; ) {
        const taken = assembler.take(chunk, offset);
        offset = taken.next;
        if (taken.body === undefined) continue;
        const call = decodePieceCall(taken.body);
        if (call === 'received') {
          received();
          continue;
        }
        // One may come early: the last bytes can arrive before this side has heard that they left.
        if (next !== undefined) throw new Error('more than one request at once');
        next = call;
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

  /** Resolves when everything that was asked for has been answered. */
  async idle(): Promise<void> {
    while (this.#answering.size > 0) await Promise.allSettled([...this.#answering]);
  }

  async #answer(
    stream: Stream,
    requester: Requester,
    request: PieceRequest,
    received: Promise<void>,
    closed: AbortSignal,
  ): Promise<void> {
    const { blob, index, patience } = request;
    const { holdings, onBytesSent } = this.#dependencies;
    const refuse = (reason: 'busy' | 'not-held', retryAfterMs = 0) =>
      stream.send(encodePieceAnswer({ type: 'refuse', reason, retryAfterMs }));
    const { peerId } = requester;
    if (this.#dependencies.now() < (this.#unserved.get(peerId) ?? 0)) {
      refuse('busy', UNSERVED_RETRY_MS);
      return;
    }
    const asked = { peer: peerId, piece: `${blob} ${index}`, patience };
    const release = await this.#slots.take(asked, closed);
    try {
      if (closed.aborted) return;
      if (release === undefined) {
        refuse('busy', this.#slots.retryAfterMs);
        return;
      }
      const held = await holdings.read(blob, index);
      if (closed.aborted) return;
      if (held === undefined || held.attestation.length === 0) {
        refuse('not-held');
        return;
      }
      const { bytes, attestation } = held;
      const head = encodePieceAnswer({ type: 'piece', length: bytes.length, attestation });
      const lanes = [requester.uploadLane, this.#lane].filter((lane) => lane !== undefined);
      await sendPaced(stream, head, bytes, {
        stallMs: SEND_STALL_MS,
        chunkBytes: this.#rates.chunkBytes,
        lanes,
        signal: closed,
      });
      await within(received, RECEIVED_WITHIN_MS, closed, () => {
        this.#unserved.set(peerId, this.#dependencies.now() + UNSERVED_MS);
      });
      requester.wasServed();
      onBytesSent(bytes.length);
    } finally {
      release?.();
    }
  }
}

function ratesOf({ uploadSlots, uploadBytesPerSecond, uploadBytesPerSecondPerPeer }: PieceServerOptions): Rates {
  const [total, perPeer] = [uploadBytesPerSecond ?? Infinity, uploadBytesPerSecondPerPeer ?? Infinity];
  const slots = Math.max(1, Math.min(uploadSlots, Math.floor(total / MIN_BYTES_PER_SECOND_AND_SLOT)));
  return {
    totalBytesPerSecond: total,
    chunkBytes: Math.min(CHUNK_BYTES, burstBytes(Math.min(total, perPeer))),
    // With a rate of its own, one piece at a time is as fast for a peer, and leaves the slots to others.
    slots: { ...uploadLimits(slots), ...(perPeer < Infinity && { slotsPerPeer: 1 }) },
  };
}

/** @throws Error when the reader has not said so in time; the signal's reason */
function within(received: Promise<void>, deadlineMs: number, signal: AbortSignal, onLate: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (error?: unknown): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onAbort = (): void => finish(signal.reason);
    const timer = setTimeout(() => {
      onLate();
      finish(new Error(`piece not received within ${deadlineMs} ms`));
    }, deadlineMs);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    void received.then(() => finish());
  });
}
