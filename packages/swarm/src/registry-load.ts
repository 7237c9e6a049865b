/**
 * How many leases may be out on one registry. Responses share its link: with too many at once no piece is whole for long, nobody
 * has anything to pass on, and readers starve. So there are only so many that a piece comes within `PIECE_WITHIN_MS`.
 * Where a registry gives each response a rate of its own, more of them bring more: then one more is tried after the other.
 */
const PIECE_WITHIN_MS = 1_000;
/** Enough to keep a link busy, also while one of them asks for its next lease. */
const LEAST = 4;
const WINDOW_MS = 1_000;
/** Nobody read for part of a longer one. */
const MAX_WINDOW_MS = 3_000;
/** One more response has brought more when this part of its share has come on top. */
const WORTH = 1 / 2;
/** A rate that was once reached counts less with every window: the registry may have become slower. */
const FADING = 0.98;
const MAX_REGISTRIES = 4_096;

interface Load {
  sinceMs: number;
  bytes: number;
  /** Bytes per millisecond, of all responses together, in the best window. */
  bestRate: number;
  /** So many have been worth their while, whatever a piece takes. */
  tried: number;
}

export class RegistryLoad {
  /** The one heard of the longest ago first. */
  readonly #loads = new Map<string, Load>();

  /** Some reader of this registry has told of so many bytes more. */
  note(registry: string, bytes: number, leases: number, nowMs: number): void {
    const load = this.#loads.get(registry) ?? { sinceMs: nowMs, bytes: 0, bestRate: 0, tried: LEAST };
    this.#loads.delete(registry);
    this.#loads.set(registry, load);
    const [oldest] = this.#loads.keys();
    if (this.#loads.size > MAX_REGISTRIES && oldest !== undefined) this.#loads.delete(oldest);
    load.bytes += bytes;
    const tookMs = nowMs - load.sinceMs;
    if (tookMs < WINDOW_MS) return;
    if (tookMs < MAX_WINDOW_MS) {
      const rate = load.bytes / tookMs;
      if (leases >= load.tried && rate > load.bestRate * (1 + WORTH / load.tried)) load.tried++;
      load.bestRate = Math.max(rate, load.bestRate * FADING);
    }
    load.sinceMs = nowMs;
    load.bytes = 0;
  }

  /** The most leases at once, for pieces of this size. */
  most(registry: string, pieceBytes: number): number {
    const load = this.#loads.get(registry);
    if (load === undefined) return LEAST;
    return Math.max(load.tried, Math.floor((PIECE_WITHIN_MS * load.bestRate) / pieceBytes));
  }
}
