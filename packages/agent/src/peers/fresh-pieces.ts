/**
 * Gathers the pieces that were written lately, so that one frame can tell of several. The first one after a quiet time
 * is told at once; what follows within the window is told together when the window ends, which opens the next one.
 */
import type { Digest } from '@shoal/oci';
import { MAX_HAVE_INDEXES } from '@shoal/wire';

export interface FreshPieces {
  digest: Digest;
  sizeBytes: number;
  /** At least one, at most MAX_HAVE_INDEXES, none twice. */
  indexes: readonly number[];
}

export class FreshPieceWindow {
  readonly #windowMs: number;
  readonly #tell: (fresh: FreshPieces) => void;
  readonly #gathered = new Map<Digest, { sizeBytes: number; indexes: Set<number> }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { windowMs: number }, dependencies: { tell: (fresh: FreshPieces) => void }) {
    this.#windowMs = options.windowMs;
    this.#tell = dependencies.tell;
  }

  add(digest: Digest, sizeBytes: number, index: number): void {
    const gathered = this.#gathered.get(digest) ?? { sizeBytes, indexes: new Set() };
    this.#gathered.set(digest, gathered);
    gathered.indexes.add(index);
    if (gathered.indexes.size >= MAX_HAVE_INDEXES) this.#tellOf(digest);
    if (this.#timer === undefined) this.#open();
  }

  /** Nothing gathered of this blob is true any more. */
  drop(digest: Digest): void {
    this.#gathered.delete(digest);
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
    for (const digest of this.#gathered.keys()) this.#tellOf(digest);
  }

  #tellOf(digest: Digest): void {
    const gathered = this.#gathered.get(digest);
    if (gathered === undefined) return;
    this.#gathered.delete(digest);
    this.#tell({ digest, sizeBytes: gathered.sizeBytes, indexes: [...gathered.indexes] });
  }
}
