/**
 * The fault campaign: a seed makes a small cluster in which several things go wrong at once, and says what must hold all the
 * same. The tests play thousands of seeds; `bench sim --campaign SEED` plays one again.
 */
import { type Random, seededRandom } from '@shoal/swarm';
import type { Outcome } from './outcome.ts';
import type { PlanInput } from './plan.ts';
import { World } from './world.ts';

const KiB = 1024;
const MAX_PIECES = 48;
const MAX_NODES = 16;
const MIN_PIECE_BYTES = 256 * KiB;
/** Faults end by then; every living node must be done well within the limit. */
const MAX_FAULTS_MS = 6_000;
const LIMIT_MS = 180_000;

/** Draws from one generator, so that the order of the calls is part of the plan. */
class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  between(min: number, max: number): number {
    return min + this.#random() * (max - min);
  }

  whole(min: number, max: number): number {
    return Math.floor(this.between(min, max + 1));
  }

  of<T>(...values: readonly T[]): T {
    return values[this.whole(0, values.length - 1)] as T;
  }

  /** Mostly nothing. */
  share(likely: number, max: number): number {
    return this.chance(likely) ? this.between(0, max) : 0;
  }

  span(maxFromMs: number, maxForMs: number): { fromMs: number; toMs: number } {
    const fromMs = this.between(0, maxFromMs);
    return { fromMs, toMs: fromMs + this.between(0, maxForMs) };
  }
}

export function planOfSeed(seed: number): PlanInput {
  const dice = new Dice(seed);
  const nodes = dice.whole(1, MAX_NODES);
  const faultsWithinMs = dice.between(500, MAX_FAULTS_MS);
  return {
    seed,
    nodes,
    blobBytes: dice.whole(1, MAX_PIECES * MIN_PIECE_BYTES),
    zones: dice.of(1, 1, 1, 2, 3),
    link: dice.of(20e6, 100e6, 1e9),
    originLink: dice.of(20e6, 100e6, 1e9),
    latencyMs: dice.between(0.1, 20),
    zoneLatencyMs: dice.between(1, 60),
    originLatencyMs: dice.between(1, 100),
    trackerLatencyMs: dice.between(0.1, 30),
    startSpreadMs: dice.share(0.7, 4_000),
    seeds: dice.of(0, 0, 0, 1, 2),
    slow: { share: dice.share(0.2, 0.3), factor: 0.1 },
    neighbours: dice.whole(2, 12),
    maxConnections: dice.whole(8, 32),
    tracker: {
      exists: dice.chance(0.9),
      outages: dice.chance(0.35) ? [{ ...dice.span(faultsWithinMs, 4_000), losesState: dice.chance(0.5) }] : [],
    },
    origin: {
      ranges: dice.chance(0.85),
      failing: dice.share(0.3, 0.4),
      stalling: dice.share(0.2, 0.2),
      outages: dice.chance(0.25) ? [{ ...dice.span(faultsWithinMs, 3_000), how: 'failed' }] : [],
    },
    faultsWithinMs,
    churn: dice.share(0.35, 0.4),
    restarts: { share: dice.share(0.35, 0.4), downMs: dice.between(100, 3_000) },
    stalls: { share: dice.share(0.35, 0.4), forMs: dice.between(100, 5_000) },
    flaps: { perNode: dice.share(0.35, 2), downMs: dice.between(50, 2_000) },
    haveDelayMs: dice.share(0.4, 200),
    liars: {
      count: nodes > 3 && dice.chance(0.25) ? dice.whole(1, 2) : 0,
      pieces: dice.between(0.1, 1),
      together: false,
    },
    corrupt: { share: nodes > 3 ? dice.share(0.25, 0.3) : 0, pieces: dice.between(0.2, 1) },
    limitMs: LIMIT_MS,
  };
}

/** What should not be, in words; empty when all is well. */
export function complaintsAbout(plan: PlanInput, outcome: Omit<Outcome, 'trace'>): string[] {
  const complaints = [...outcome.violations];
  if (outcome.wrongBytes > 0) complaints.push(`${outcome.wrongBytes} wrong bytes were taken for right`);
  if (outcome.failed > 0) {
    complaints.push(`${outcome.failed} living nodes did not get the blob: ${JSON.stringify(outcome.failures)}`);
  }
  if (outcome.barredHonest > 0) complaints.push(`${outcome.barredHonest} honest members were barred`);
  const nodes = plan.nodes ?? 0;
  // Without Shoal each node reads the blob once; those that join or come back read it, too, and the origin's own faults
  // repeat reads, from the start if it ignores ranges. To find a liar every node may have to read the blob, and then what
  // was wrong once more.
  const liars = (plan.liars?.count ?? 0) > 0;
  const reads = (liars ? 4 : 2) + (plan.origin?.ranges === false ? 3 : 0) + (plan.churn ?? 0);
  const direct = nodes * reads + 1;
  if (outcome.originBytesRatio > direct) {
    complaints.push(
      `the origin sent ${outcome.originBytesRatio.toFixed(2)} blobs to ${nodes} nodes: worse than without Shoal`,
    );
  }
  return complaints;
}

/** Plays a seed and says what was wrong. */
export function complaintsOfSeed(seed: number): string[] {
  const plan = planOfSeed(seed);
  try {
    return complaintsAbout(plan, new World(plan).run());
  } catch (error) {
    return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  }
}
