/**
 * In which order one agent reads several blobs from one registry. A client pulls a few layers at once; were a crowd to read
 * all of them at once, too, the link of the origin would be shared by so many responses that for long no piece were whole,
 * and all layers would be read out before the first had spread. So in a crowd each agent reads the layer that it began with,
 * then the next, while what was read spreads; alone, or among few, it reads several at once as the client would have.
 */

/** Responses of one registry that are enough to keep its link busy. */
const READ_TOGETHER = 8;
/** A pull that has begun so lately is about to ask. */
const ABOUT_TO_ASK_MS = 500;
/** Not worth a wait. */
const SMALL_BYTES = 4 * 1024 * 1024;

export interface OriginTurnOptions {
  sizeBytes: number;
  registry: string;
  /** Whether the pull has a lease or is asking for one. */
  reads: () => boolean;
  /** Whether it gives way to those that are not, whichever began first. @default never */
  inBackground?: () => boolean;
}

export interface OriginTurn {
  /** Whether it may ask for a lease now. @param crowd about how many agents want the blob */
  isNow(crowd: number): boolean;
  /** How many large blobs of its registry go before it: begun earlier, or not in the background as it is. */
  earlier(): number;
  /** It has everything, or was given up. */
  end(): void;
}

interface Entry extends OriginTurnOptions {
  startedAtMs: number;
  hasAsked: boolean;
}

export class OriginTurns {
  readonly #clock: () => number;
  /** In the order in which they began. */
  readonly #entries = new Set<Entry>();

  /** @param clock milliseconds */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  begin(options: OriginTurnOptions): OriginTurn {
    const entry: Entry = { ...options, startedAtMs: this.#clock(), hasAsked: false };
    const takesTurns = options.sizeBytes > SMALL_BYTES;
    if (takesTurns) this.#entries.add(entry);
    return {
      earlier: () => (this.#entries.has(entry) ? [...this.#earlier(entry)].length : 0),
      isNow: (crowd) => {
        const isNow = !takesTurns || this.#before(entry) < Math.ceil(READ_TOGETHER / Math.max(1, crowd));
        if (isNow) entry.hasAsked = true;
        return isNow;
      },
      end: () => this.#entries.delete(entry),
    };
  }

  /** Those of the same registry that go before it. */
  *#earlier(entry: Entry): Generator<Entry> {
    const isBehind = isInBackground(entry);
    let beganEarlier = true;
    for (const other of this.#entries) {
      if (other === entry) beganEarlier = false;
      else if (other.registry === entry.registry && (isInBackground(other) === isBehind ? beganEarlier : isBehind))
        yield other;
    }
  }

  #before(entry: Entry): number {
    let count = 0;
    for (const other of this.#earlier(entry)) if (other.reads() || this.#isAboutToAsk(other)) count++;
    return count;
  }

  #isAboutToAsk({ hasAsked, startedAtMs }: Entry): boolean {
    return !hasAsked && this.#clock() - startedAtMs < ABOUT_TO_ASK_MS;
  }
}

function isInBackground({ inBackground }: Entry): boolean {
  return inBackground?.() === true;
}
