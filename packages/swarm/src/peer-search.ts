import type { Random } from './random.ts';

const EVERY_MS = 1_000;
const MORE_AFTER_MS = 4_000;
const FEW_NEIGHBOURS = 12;
/** Who begins amid many neighbours, in a crowd, leaves the tracker this long for each of it before asking for more. */
const INTRODUCTION_MS_EACH = 1;

/** How the pull stands that may need more peers. */
export interface SearchNeed {
  /** The time of the last sign of life from any source. */
  progressAtMs: number;
  neighbours: number;
  /** About how many agents want the blob now. */
  crowd: () => number;
  /** Whether some piece is neither here nor under way nor offered by anybody. */
  anythingUncovered: () => boolean;
}

/** When one pull asks for peers: first at the beginning, then often while nothing comes in, and now and then while there are few neighbours. */
export class PeerSearch {
  readonly #random: Random;
  #atMs: number;
  /** Who begins amid many neighbours can wait for the introduction to others: a crowd does not ask for it all at once. */
  #state: 'none' | 'put off' | 'begun' = 'none';

  constructor(firstAtMs: number, random: Random) {
    this.#atMs = firstAtMs;
    this.#random = random;
  }

  /** Whether to ask now; who is told so asks. */
  isDue(need: SearchNeed, nowMs: number): boolean {
    const stuck = nowMs - need.progressAtMs >= EVERY_MS;
    if (nowMs < this.#atMs && !(stuck && this.#state === 'put off')) return false;
    const many = need.neighbours >= FEW_NEIGHBOURS;
    if (this.#state === 'none' && many) {
      this.#state = 'put off';
      this.#atMs = nowMs + this.#random() * need.crowd() * INTRODUCTION_MS_EACH;
      return false;
    }
    if (this.#state === 'begun') {
      if (!need.anythingUncovered()) return false;
      const sinceMs = nowMs - this.#atMs;
      if (!stuck && (many || sinceMs < MORE_AFTER_MS)) return false;
    }
    this.#state = 'begun';
    this.#atMs = nowMs + EVERY_MS;
    return true;
  }
}
