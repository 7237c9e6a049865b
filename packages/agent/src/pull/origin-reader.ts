/** The origin side of one pull: reads the run the swarm asks for, from one of the repositories known to hold the blob. */
import { type OriginEnd, pieceCountOf, type SwarmEvent } from '@shoal/swarm';
import type { Logger } from 'pino';
import { type OriginClient, OriginError } from '../origin/origin-client.ts';
import type { SizedBlob } from './blob-size.ts';
import { NoRange, type OriginPiece, type OriginRun, readOriginRun } from './origin-run.ts';
import type { PullPace } from './pull-pace.ts';
import { isSameSource, type PullSource } from './pulls.ts';

const MAX_SOURCES = 8;
const BYTES_EVENT_EVERY_MS = 200;

interface Source {
  source: PullSource;
  refusal: OriginError | undefined;
}

export interface OriginReaderDependencies {
  origin: OriginClient;
  logger: Logger;
  clock: () => number;
  pace: PullPace;
  /** Keeps a piece and announces it. */
  onPiece(piece: OriginPiece): Promise<void>;
  onBytes(bytes: number): void;
  /** Whether the origin honours ranges, seen when reading from piece `from` on; resolves when the run's end is certain. */
  onRanges(from: number, honoured: boolean): Promise<void>;
  onEvent(event: SwarmEvent): void;
}

export class OriginReader {
  readonly #target: SizedBlob;
  readonly #dependencies: OriginReaderDependencies;
  readonly #sources: Source[];
  #failuresInARow = 0;
  #lastError: OriginError | undefined;
  #reading: { run: OriginRun; abort: AbortController } | undefined;
  #lastBytesEventMs = 0;

  constructor(target: SizedBlob, source: PullSource, dependencies: OriginReaderDependencies) {
    this.#target = target;
    this.#dependencies = dependencies;
    this.#sources = [{ source, refusal: undefined }];
  }

  /** What an origin last answered instead of the blob. */
  get lastError(): OriginError | undefined {
    return this.#lastError;
  }

  /** The same for this source: that a registry wants a login is told to none but the one whom it told so. */
  errorFor(source: PullSource): OriginError | undefined {
    const own = this.#sources.find((held) => isSameSource(held.source, source))?.refusal;
    return own ?? (this.#lastError?.code === 'unauthorized' ? undefined : this.#lastError);
  }

  get failuresInARow(): number {
    return this.#failuresInARow;
  }

  /** The repository that would be asked now. */
  get source(): PullSource {
    return this.#current().source;
  }

  /**
   * Another repository that has the blob, or another login for one that is known, should the first be refused. True when
   * everything refused until now, so that it is worth while to ask again.
   */
  addSource(source: PullSource): boolean {
    const known = this.#sources.find((held) => isSameSource(held.source, source));
    if (known !== undefined && known.refusal === undefined) return false;
    const allRefused = this.#allRefused();
    // It comes again because the registry said yes to it since.
    if (known !== undefined) known.refusal = undefined;
    else this.#push(source);
    if (allRefused) {
      this.#failuresInARow = 0;
      this.#lastError = undefined;
    }
    return allRefused;
  }

  #allRefused(): boolean {
    return this.#sources.every(({ refusal }) => refusal !== undefined);
  }

  #push(source: PullSource): void {
    if (this.#sources.length >= MAX_SOURCES) {
      const at = this.#sources.findIndex(({ refusal }) => refusal !== undefined);
      this.#sources.splice(Math.max(0, at), 1);
    }
    this.#sources.push({ source, refusal: undefined });
  }

  /** The first that has not refused; when all have, the last one. */
  #current(): Source {
    return this.#sources.find(({ refusal }) => refusal === undefined) ?? (this.#sources.at(-1) as Source);
  }

  /**
   * Reads pieces [from, to) until done, stopped or failed; exactly one `origin-ended` follows unless it was stopped.
   * Each piece is kept while the next one comes in.
   * @throws what `onPiece` throws
   */
  async read(range: Pick<OriginRun, 'from' | 'to' | 'whole'>): Promise<void> {
    const abort = new AbortController();
    const { signal } = abort;
    const run: OriginRun = { blob: this.#target.blob, sizeBytes: this.#target.sizeBytes, ...range };
    this.#reading = { run, abort };
    const { origin, pace, onPiece, onRanges } = this.#dependencies;
    const current = this.#current();
    const { source } = current;
    let ranged: boolean | undefined;
    const events = {
      onBytes: (bytes: number) => {
        this.#bytesCame(bytes, signal);
        return pace.take(bytes, signal);
      },
      onRanges: (honoured: boolean) => {
        ranged = honoured;
        return onRanges(run.from, honoured);
      },
    };
    let keeping: Promise<void> | undefined;
    let end: { how: OriginEnd; retryAfterMs?: number };
    try {
      for await (const piece of readOriginRun(origin, source, run, signal, events)) {
        this.#failuresInARow = 0;
        await keeping;
        if (signal.aborted) break;
        keeping = onPiece(piece);
        // Whoever awaits it next hears of a failure.
        keeping.catch(() => undefined);
      }
      const toTheEnd = run.to === pieceCountOf(run.sizeBytes);
      end = { how: ranged !== false || run.whole || toTheEnd ? 'done' : 'no-range' };
    } catch (error) {
      await keeping;
      if (signal.aborted) return;
      if (error instanceof NoRange) ranged = false;
      end = this.#failed(error, current);
    }
    await keeping;
    if (signal.aborted) return;
    this.#dependencies.onEvent({ type: 'origin-ended', ...end, ...(ranged !== undefined && { ranged }) });
  }

  /** The run under way ends before piece `to` instead. */
  limit(to: number): void {
    if (this.#reading !== undefined) this.#reading.run.to = to;
  }

  stop(): void {
    this.#reading?.abort.abort();
    this.#reading = undefined;
  }

  #bytesCame(bytes: number, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#dependencies.onBytes(bytes);
    const now = this.#dependencies.clock();
    if (now - this.#lastBytesEventMs < BYTES_EVENT_EVERY_MS) return;
    this.#lastBytesEventMs = now;
    this.#dependencies.onEvent({ type: 'origin-bytes' });
  }

  #failed(error: unknown, current: Source): { how: OriginEnd; retryAfterMs?: number } {
    if (error instanceof NoRange) return { how: 'no-range' };
    if (!(error instanceof OriginError)) throw error;
    const { source } = current;
    this.#lastError = error;
    const { registry, name } = source.repository;
    this.#dependencies.logger.warn({ registry, repository: name, code: error.code }, `origin: ${error.message}`);
    if (error.temporary) {
      this.#failuresInARow++;
      const { retryAfterMs } = error;
      return { how: 'failed', ...(retryAfterMs !== undefined && { retryAfterMs }) };
    }
    current.refusal = error;
    if (!this.#allRefused()) return { how: 'failed' };
    this.#failuresInARow++;
    return { how: 'refused' };
  }
}
