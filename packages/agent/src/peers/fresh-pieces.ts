/**
 * Gathers the pieces that were written lately, so that one frame can tell of several. The first one after a quiet time
 * is told at once; what follows within the window is told together when the window ends, which opens the next one.
 */
import type { BlobId } from '@shoal/oci';
import { MAX_HAVE_INDEXES } from '@shoal/wire';

export interface FreshPieces {
  blob: BlobId;
  sizeBytes: number;
  /** At least one, at most MAX_HAVE_INDEXES, none twice. */
  indexes: readonly number[];
}

export class FreshPieceWindow {
  readonly #windowMs: number;
  readonly #tell: (fresh: FreshPieces) => void;
  readonly #gathered = new Map<BlobId, { sizeBytes: number; indexes: Set<number> }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { windowMs: number }, dependencies: { tell: (fresh: FreshPieces) => void }) {
    this.#windowMs = options.windowMs;
    this.#tell = dependencies.tell;
  }

  add(blob: BlobId, sizeBytes: number, index: number): void {
    const gathered = this.#gathered.get(blob) ?? { sizeBytes, indexes: new Set() };
    this.#gathered.set(blob, gathered);
    gathered.indexes.add(index);
    if (gathered.indexes.size >= MAX_HAVE_INDEXES) this.#tellOf(blob);
    if (this.#timer === undefined) this.#open();
  }

  /** Nothing gathered of this blob is true any more. */
  drop(blob: BlobId): void {
    this.#gathered.delete(blob);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#gathered.clear();
  }

  /** Tells what there is, and looks again after a window; a window in which nothing came is the last. */
  #open(): void {
    this.#timer = undefined;
    if (this.#gathered.size === 0) return;
    this.#timer = setTimeout(() => this.#open(), this.#windowMs);
    for (const blob of this.#gathered.keys()) this.#tellOf(blob);
  }

  #tellOf(blob: BlobId): void {
    const gathered = this.#gathered.get(blob);
    if (gathered === undefined) return;
    this.#gathered.delete(blob);
    this.#tell({ blob, sizeBytes: gathered.sizeBytes, indexes: [...gathered.indexes] });
  }
}
