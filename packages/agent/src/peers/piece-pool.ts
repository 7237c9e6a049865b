/**
 * The few bulk streams of one connection on which pieces are asked for. Opening a stream costs a round trip, so they are
 * reused; each carries one request at a time; what finds none free waits its turn within its own deadline.
 */
import type { Stream } from '@libp2p/interface';
import type { Piece } from './attesting.ts';
import { type FetchedPiece, PeerError } from './peer-network.ts';
import { type FetchOptions, PieceStream, type PieceStreamDependencies } from './piece-stream.ts';

const MAX_WAITING = 64;
/** When this agent asks more of a peer at once than it has streams for. */
const RETRY_AFTER_MS = 50;

export interface PiecePoolDependencies extends Omit<PieceStreamDependencies, 'onClosed' | 'quietMs' | 'onProgress'> {
  openStream: (signal: AbortSignal) => Promise<Stream>;
}

export class PiecePool {
  readonly #maxStreams: number;
  readonly #dependencies: PiecePoolDependencies;
  readonly #streams = new Set<PieceStream>();
  readonly #idle: PieceStream[] = [];
  readonly #waiting: (() => void)[] = [];
  #opening = 0;
  #progressAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: { maxStreams: number }, dependencies: PiecePoolDependencies) {
    this.#maxStreams = options.maxStreams;
    this.#dependencies = dependencies;
  }

  /** @throws PeerError */
  async fetch(piece: Piece, options: FetchOptions): Promise<FetchedPiece> {
    const stream = await this.#take(options);
    try {
      return await stream.fetch(piece, options);
    } finally {
      if (stream.usable) this.#idle.push(stream);
      this.#wakeOne();
    }
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#streams) stream.close();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #take(options: FetchOptions): Promise<PieceStream> {
    const expiresAtMs = performance.now() + options.deadlineMs;
    try {
      for (;;) {
        if (options.signal.aborted) throw new PeerError('cancelled', 'piece not needed any more');
        if (this.#closed) throw new PeerError('gone', 'connection closed');
        const idle = this.#idle.pop();
        if (idle?.usable) return idle;
        if (idle !== undefined) continue;
        if (this.#streams.size + this.#opening < this.#maxStreams) return await this.#open(options);
        await this.#turn(expiresAtMs - performance.now(), options.signal);
      }
    } catch (error) {
      // It may have been this caller's turn.
      this.#wakeOne();
      throw error;
    }
  }

  async #open(options: FetchOptions): Promise<PieceStream> {
    const timeout = AbortSignal.timeout(options.deadlineMs);
    this.#opening++;
    try {
      const opened = await this.#dependencies.openStream(AbortSignal.any([options.signal, timeout]));
      const stream = new PieceStream(opened, {
        ...this.#dependencies,
        quietMs: () => performance.now() - this.#progressAtMs,
        onProgress: () => {
          this.#progressAtMs = performance.now();
        },
        onClosed: (closed) => {
          this.#streams.delete(closed);
          this.#wakeOne();
        },
      });
      if (!stream.usable) throw new PeerError('gone', 'piece stream closed');
      this.#streams.add(stream);
      if (this.#closed) stream.close();
      return stream;
    } catch (error) {
      if (options.signal.aborted) throw new PeerError('cancelled', 'piece not needed any more');
      if (timeout.aborted) throw new PeerError('timeout', 'piece stream did not open in time');
      throw new PeerError('gone', 'piece stream did not open', { cause: error });
    } finally {
      this.#opening--;
    }
  }

  /** Resolves when something changed and it is this caller's turn to look again. */
  #turn(withinMs: number, signal: AbortSignal): Promise<void> {
    const busy = () => new PeerError('busy', 'every stream to this peer is in use', { retryAfterMs: RETRY_AFTER_MS });
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const settle = (error?: PeerError) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        const at = this.#waiting.indexOf(wake);
        if (at >= 0) this.#waiting.splice(at, 1);
        if (error === undefined) resolve();
        else reject(error);
      };
      const wake = () => settle();
      const onAbort = () => settle(new PeerError('cancelled', 'piece not needed any more'));
      // The peer answers nobody here: that is no refusal, which would be a sign of life.
      const late = new PeerError('timeout', 'every stream to this peer stayed in use');
      const timer = setTimeout(() => settle(late), Math.max(0, withinMs));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(wake);
    });
  }

  #wakeOne(): void {
    this.#waiting[0]?.();
  }
}
