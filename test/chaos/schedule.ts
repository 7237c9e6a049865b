/** Which fault hits what, and when: drawn before the run from a seed alone, so that a run can be had again. */
import { type Random, seededRandom } from '@shoal/swarm';
import { type Fault, type FaultKind, nodePlace, type Place } from './fault.ts';

/** One deck is played to its last card before the next: so every kind comes, and the registry is there most of the time. */
const DECK: readonly FaultKind[] = [
  ...(['agent-killed', 'agent-killed', 'agent-killed', 'link-cut', 'link-cut', 'link-cut'] as const),
  ...(['agent-stopped', 'agent-stopped', 'agent-drained', 'agent-drained', 'disk-full', 'disk-full'] as const),
  ...(['tracker-killed', 'tracker-stopped', 'origin-cut', 'origin-killed', 'origin-stopped', 'origin-sick'] as const),
];
const PAUSE_MS = { least: 1_000, most: 4_000 };
const LASTS_MS = { least: 1_500, most: 7_000 };
/** Between two faults of one place: so long it is whole. */
const REST_MS = 3_000;
/** The others are whole: a cluster that is all broken shows nothing. */
const NODES_HURT_AT_ONCE = 3;

export interface ScheduleOptions {
  readonly seed: number;
  readonly nodes: number;
  /** All faults are over by then. */
  readonly durationMs: number;
}

/** In the order of their starts. */
export function faultSchedule({ seed, nodes, durationMs }: ScheduleOptions): Fault[] {
  const random = seededRandom(seed);
  const faults: Fault[] = [];
  let deck: FaultKind[] = [];
  for (let nowMs = between(random, PAUSE_MS); ; nowMs += between(random, PAUSE_MS)) {
    if (deck.length === 0) deck = shuffled(DECK, random);
    const kind = deck.pop()!;
    const endMs = nowMs + between(random, LASTS_MS);
    if (endMs > durationMs) return faults;
    const place = freePlace(kind, nowMs, nodes, faults, random);
    if (place === undefined) deck.unshift(kind);
    else faults.push({ kind, place, startMs: nowMs, endMs });
  }
}

function freePlace(
  kind: FaultKind,
  nowMs: number,
  nodes: number,
  faults: readonly Fault[],
  random: Random,
): Place | undefined {
  const isFree = (place: Place): boolean =>
    faults.every((fault) => fault.place !== place || fault.endMs + REST_MS <= nowMs);
  if (kind.startsWith('origin-')) return isFree('origin') ? 'origin' : undefined;
  if (kind.startsWith('tracker-')) return isFree('tracker') ? 'tracker' : undefined;
  const places = Array.from({ length: nodes }, (_, index) => nodePlace(index));
  const hurt = faults.filter(({ place, endMs }) => places.includes(place) && endMs > nowMs).length;
  const free = places.filter(isFree);
  return hurt >= NODES_HURT_AT_ONCE ? undefined : free[Math.floor(random() * free.length)];
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!);
}

function between(random: Random, { least, most }: { least: number; most: number }): number {
  return Math.round(least + random() * (most - least));
}
