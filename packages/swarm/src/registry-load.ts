/**
 * How many leases may be out on one registry. Responses share its link: with too many at once no piece is whole for long, nobody
 * has anything to pass on, and readers starve. So there are only so many that a piece comes within a second or so, going by what
 * all responses of the registry together have brought.
 */
const PIECE_WITHIN_MS = 1_000;
/** Large pieces take longer, but are not waited for where a response is slower than this: it may be that each has such a rate of its own. */
const SLOW_BYTES_PER_MS = 768;
/** Enough to keep a link busy, also while one of them asks for its next lease. */
const LEAST = 4;
const WINDOW_MS = 1_000;
/** Nobody read for part of a longer one. */
const MAX_WINDOW_MS = 3_000;
/** A rate that was once reached counts less with every window: the registry may have become slower. */
const FADING = 0.95;
const MAX_REGISTRIES = 4_096;

interface Load {
  sinceMs: number;
  bytes: number;
  /** Bytes per millisecond, of all responses together, in the best window. */
  bestRate: number;
}

export class RegistryLoad {
  /** The one heard of the longest ago first. */
  readonly #loads = new Map<string, Load>();

  /** Some reader of this registry has told of so many bytes more. */
  note(registry: string, bytes: number, nowMs: number): void {
    const load = this.#loads.get(registry) ?? { sinceMs: nowMs, bytes: 0, bestRate: 0 };
    this.#loads.delete(registry);
    this.#loads.set(registry, load);
    const [oldest] = this.#loads.keys();
    if (this.#loads.size > MAX_REGISTRIES && oldest !== undefined) this.#loads.delete(oldest);
    load.bytes += bytes;
    const tookMs = nowMs - load.sinceMs;
    if (tookMs < WINDOW_MS) return;
    if (tookMs < MAX_WINDOW_MS) load.bestRate = Math.max(load.bytes / tookMs, load.bestRate * FADING);
    load.sinceMs = nowMs;
    load.bytes = 0;
  }

  /** The most leases at once, for pieces of this size. */
  most(registry: string, pieceBytes: number): number {
    const { bestRate = 0 } = this.#loads.get(registry) ?? {};
    const withinMs = Math.max(PIECE_WITHIN_MS, pieceBytes / SLOW_BYTES_PER_MS);
    return Math.max(LEAST, Math.floor((withinMs * bestRate) / pieceBytes));
  }
}
