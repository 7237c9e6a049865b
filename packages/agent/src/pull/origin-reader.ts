/** The origin side of one pull: reads the run the swarm asks for, from one of the repositories known to hold the blob. */
import type { Digest } from '@shoal/oci';
import type { SwarmEvent } from '@shoal/swarm';
import type { Logger } from 'pino';
import { type OriginClient, OriginError } from '../origin/origin-client.ts';
import { type OriginPiece, readOriginRun } from './origin-run.ts';
import type { PullSource } from './pulls.ts';

const MAX_SOURCES = 8;
const BYTES_EVENT_EVERY_MS = 200;

export interface OriginReaderDependencies {
  origin: OriginClient;
  logger: Logger;
  clock: () => number;
  /** Keeps a piece and announces it. */
  onPiece(piece: OriginPiece): Promise<void>;
  onBytes(bytes: number): void;
  onEvent(event: SwarmEvent): void;
}

export class OriginReader {
  readonly #blob: { digest: Digest; sizeBytes: number };
  readonly #dependencies: OriginReaderDependencies;
  readonly #sources: PullSource[];
  #turn = 0;
  #refusals = 0;
  #failuresInARow = 0;
  #lastError: OriginError | undefined;
  #abort: AbortController | undefined;
  #lastBytesEventMs = 0;

  constructor(blob: { digest: Digest; sizeBytes: number }, source: PullSource, dependencies: OriginReaderDependencies) {
    this.#blob = blob;
    this.#dependencies = dependencies;
    this.#sources = [source];
  }

  /** What the origin last answered instead of the blob. */
  get lastError(): OriginError | undefined {
    return this.#lastError;
  }

  get failuresInARow(): number {
    return this.#failuresInARow;
  }

  /** The repository that would be asked now. */
  get source(): PullSource {
    return this.#sources[this.#turn % this.#sources.length] as PullSource;
  }

  /** Another repository that has the blob, should the first refuse. */
  addSource(source: PullSource): void {
    const known = this.#sources.some(
      ({ repository: { registry, name } }) =>
        registry === source.repository.registry && name === source.repository.name,
    );
    if (!known && this.#sources.length < MAX_SOURCES) this.#sources.push(source);
  }

  /**
   * Reads pieces [from, to) until done, stopped or failed; exactly one `origin-ended` follows unless it was stopped.
   * @throws what `onPiece` throws
   */
  async read(from: number, to: number): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    const { digest, sizeBytes } = this.#blob;
    const { origin, onPiece } = this.#dependencies;
    const source = this.source;
    const call = { signal: abort.signal, pullId: source.pullId };
    try {
      const run = { digest, sizeBytes, from, to };
      for await (const piece of readOriginRun(origin, source, run, call, (bytes) =>
        this.#bytesCame(bytes, abort.signal),
      )) {
        if (abort.signal.aborted) return;
        this.#failuresInARow = 0;
        await onPiece(piece);
      }
      if (!abort.signal.aborted) this.#dependencies.onEvent({ type: 'origin-ended', how: 'done' });
    } catch (error) {
      if (!abort.signal.aborted) this.#failed(error, source);
    }
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }

  #bytesCame(bytes: number, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#dependencies.onBytes(bytes);
    const now = this.#dependencies.clock();
    if (now - this.#lastBytesEventMs < BYTES_EVENT_EVERY_MS) return;
    this.#lastBytesEventMs = now;
    this.#dependencies.onEvent({ type: 'origin-bytes' });
  }

  #failed(error: unknown, source: PullSource): void {
    if (!(error instanceof OriginError)) throw error;
    this.#lastError = error;
    this.#failuresInARow++;
    const { registry, name } = source.repository;
    this.#dependencies.logger.warn({ registry, repository: name, code: error.code }, `origin: ${error.message}`);
    if (error.temporary) {
      const retryAfterMs = error.retryAfterMs;
      this.#dependencies.onEvent({
        type: 'origin-ended',
        how: 'failed',
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      });
      return;
    }
    this.#turn++;
    this.#refusals++;
    const how = this.#refusals < this.#sources.length ? 'failed' : 'refused';
    this.#dependencies.onEvent({ type: 'origin-ended', how });
  }
}
