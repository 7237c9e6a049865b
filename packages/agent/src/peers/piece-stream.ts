/**
 * The asking side of one bulk stream: one request at a time, and the bytes of the answer go straight into the one
 * buffer for the piece. A stream that failed in any way is reset and never used again.
 *
 * 1. send REQUEST
 * 2. read PIECE or REFUSE; check the length against the blob's arithmetic and the attestation against the cluster
 * 3. read the bytes, hashing as they come
 * 4. say RECEIVED
 * 5. compare the hash with the attested one; only then is there a piece
 *
 * The deadline covers the first byte and then every 64 KiB, so a trickle does not pass for progress. While the peer's other
 * streams bring something it is longer: on a slow link an answer stands in line behind theirs.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Stream } from '@libp2p/interface';
import { pieceExtent } from '@shoal/swarm';
import {
  decodePieceAnswer,
  encodePieceRequest,
  FrameAssembler,
  FrameError,
  MAX_PIECE_ANSWER_BODY_BYTES,
  PIECE_RECEIVED,
} from '@shoal/wire';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { Attested, Piece } from './attesting.ts';
import { type FetchedPiece, PeerError } from './peer-network.ts';

const PROGRESS_BYTES = 64 * 1024;
/** The deadline is at most this many times longer. */
const MAX_IN_LINE = 4;

export interface PieceStreamDependencies {
  /** Milliseconds since any stream of the peer last got on by 64 KiB, or to the end of a piece. */
  quietMs: () => number;
  onProgress: () => void;
  /** @throws PeerError corrupt */
  checkAttestation: (attestation: Uint8Array, piece: Piece) => Attested;
  /** Whether nothing is believed that this member signed. */
  isBarred: (peerId: string) => boolean;
  /** Called once, when the stream is of no more use. */
  onClosed: (stream: PieceStream) => void;
  /** The peer broke the protocol. */
  onMisuse: (error: PeerError) => void;
}

export interface FetchOptions {
  /** First byte, and each 64 KiB after it; longer while other streams of the connection bring something. */
  deadlineMs: number;
  /** As in the request. */
  patience: number;
  signal: AbortSignal;
  /** As long as the piece; written to until the promise is settled. */
  into?: Buffer | undefined;
  /** Bytes of the piece as they come, also when it fails in the end. */
  onBytes: (bytes: number) => void;
}

interface Exchange {
  readonly piece: Piece;
  readonly length: number;
  readonly into: Buffer | undefined;
  readonly onBytes: (bytes: number) => void;
  readonly settle: (error: PeerError | undefined, fetched?: FetchedPiece) => void;
  readonly timer: NodeJS.Timeout;
  /** Deadlines that have passed without progress while others got on, this one included. */
  inLine: number;
  receiving?: Receiving;
}

interface Receiving {
  readonly bytes: Buffer;
  readonly hash: Hash;
  readonly attestation: Uint8Array;
  readonly sha256: Uint8Array;
  readonly signer: string;
  received: number;
  progressAt: number;
}

export class PieceStream {
  readonly #stream: Stream;
  readonly #dependencies: PieceStreamDependencies;
  readonly #assembler = new FrameAssembler(MAX_PIECE_ANSWER_BODY_BYTES);
  #exchange: Exchange | undefined;
  #usable = true;

  /** Takes over a newly opened stream; nothing may have been awaited since it was opened. */
  constructor(stream: Stream, dependencies: PieceStreamDependencies) {
    this.#stream = stream;
    this.#dependencies = dependencies;
    stream.addEventListener('message', ({ data }: { data: Uint8Array | Uint8ArrayList }) => this.#onMessage(data));
    stream.addEventListener('close', () => this.#fail(new PeerError('gone', 'piece stream closed')));
    stream.addEventListener('remoteCloseWrite', () => this.#fail(new PeerError('gone', 'piece stream ended')));
    if (stream.status !== 'open') this.#usable = false;
  }

  get usable(): boolean {
    return this.#usable;
  }

  /** @throws PeerError */
  fetch(piece: Piece, options: FetchOptions): Promise<FetchedPiece> {
    const { deadlineMs, patience, signal, into, onBytes } = options;
    return new Promise((resolve, reject) => {
      const onAbort = () => this.#fail(new PeerError('cancelled', 'piece not needed any more'));
      const late = (): void => {
        const exchange = this.#exchange;
        if (exchange === undefined) return;
        if (exchange.inLine < MAX_IN_LINE && this.#dependencies.quietMs() < deadlineMs) {
          exchange.inLine++;
          exchange.timer.refresh();
        } else this.#fail(new PeerError('timeout', `no progress for ${deadlineMs} ms`));
      };
      const timer = setTimeout(late, deadlineMs);
      const settle: Exchange['settle'] = (error, fetched) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#exchange = undefined;
        if (fetched === undefined) reject(error);
        else resolve(fetched);
      };
      const { length } = pieceExtent(piece.sizeBytes, piece.index);
      this.#exchange = { piece, length, into, onBytes, settle, timer, inLine: 1 };
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) return onAbort();
      if (!this.#usable) return this.#fail(new PeerError('gone', 'piece stream closed'));
      try {
        this.#stream.send(encodePieceRequest({ ...piece, patience }));
      } catch (error) {
        this.#fail(new PeerError('gone', 'piece stream closed', { cause: error }));
      }
    });
  }

  /** Ends the stream and whatever is under way on it. */
  close(): void {
    this.#fail(new PeerError('gone', 'connection closed'));
  }

  #onMessage(data: Uint8Array | Uint8ArrayList): void {
    try {
      for (const chunk of data instanceof Uint8Array ? [data] : data) this.#onChunk(chunk);
    } catch (error) {
      if (error instanceof PeerError) this.#fail(error);
      else if (error instanceof FrameError) this.#fail(new PeerError('protocol', error.message, { cause: error }));
      else this.#fail(new PeerError('gone', 'piece could not be received', { cause: error }));
    }
  }

  #onChunk(chunk: Uint8Array): void {
    for (let offset = 0; offset < chunk.length && this.#usable; ) {
      const exchange = this.#exchange;
      if (exchange === undefined) throw new PeerError('protocol', 'bytes that nobody asked for');
      if (exchange.receiving === undefined) {
        const { next, body } = this.#assembler.take(chunk, offset);
        offset = next;
        if (body !== undefined) this.#onAnswer(exchange, body);
      } else {
        const part = chunk.subarray(offset, offset + exchange.length - exchange.receiving.received);
        offset += part.length;
        this.#onBytes(exchange, exchange.receiving, part);
      }
    }
  }

  #onAnswer(exchange: Exchange, body: Uint8Array): void {
    exchange.timer.refresh();
    const answer = decodePieceAnswer(body);
    if (answer.type === 'refuse') {
      const { reason, retryAfterMs } = answer;
      exchange.settle(new PeerError(reason, `peer refused: ${reason}`, { retryAfterMs }));
      return;
    }
    if (answer.length !== exchange.length) {
      throw new PeerError('protocol', `piece of ${answer.length} bytes where ${exchange.length} were asked for`);
    }
    const attestation = Uint8Array.from(answer.attestation);
    const { sha256, signer } = this.#dependencies.checkAttestation(attestation, exchange.piece);
    if (this.#dependencies.isBarred(signer)) throw barredSigner(signer);
    exchange.receiving = {
      bytes: exchange.into ?? Buffer.allocUnsafeSlow(exchange.length),
      hash: createHash('sha256'),
      attestation,
      sha256: Uint8Array.from(sha256),
      signer,
      received: 0,
      progressAt: PROGRESS_BYTES,
    };
  }

  #onBytes(exchange: Exchange, receiving: Receiving, part: Uint8Array): void {
    receiving.bytes.set(part, receiving.received);
    receiving.hash.update(part);
    receiving.received += part.length;
    exchange.onBytes(part.length);
    if (receiving.received >= receiving.progressAt) {
      receiving.progressAt = receiving.received + PROGRESS_BYTES;
      exchange.inLine = 1;
      exchange.timer.refresh();
      this.#dependencies.onProgress();
    }
    if (receiving.received < exchange.length) return;
    this.#dependencies.onProgress();
    // A stream that has just closed does not spoil the piece.
    if (this.#stream.status === 'open') this.#stream.send(PIECE_RECEIVED);
    const { bytes, sha256, attestation, signer } = receiving;
    if (!receiving.hash.digest().equals(sha256)) throw new PeerError('corrupt', 'piece does not match its attestation');
    // It may have been barred while the bytes came.
    if (this.#dependencies.isBarred(signer)) exchange.settle(barredSigner(signer));
    else exchange.settle(undefined, { bytes, sha256, attestation, signer });
  }

  #fail(error: PeerError): void {
    this.#exchange?.settle(error);
    if (!this.#usable) return;
    this.#usable = false;
    this.#stream.abort(error);
    this.#dependencies.onClosed(this);
    if (error.code === 'protocol') this.#dependencies.onMisuse(error);
  }
}

function barredSigner(signer: string): PeerError {
  return new PeerError('barred-signer', `attested by ${signer}, which is barred`);
}
