/**
 * Which pulls went as they must. A pull must end well and within its time, whatever goes on; it may fail only when in its
 * time the registry could not be reached and not all of the image was within reach of the node's agent.
 */
import { type FaultRecord, type Place, touches } from './fault.ts';

/** Whatever is broken in the meantime: every fault is over long before that. */
export const PULL_DEADLINE_MS = 120_000;
/** When nothing is broken, here or elsewhere. A loaded machine takes a third of it. */
const CALM_DEADLINE_MS = 60_000;
/** After a fault: until then others may not know again of an agent and of what it holds. */
const SETTLED_MS = 10_000;

export interface PullRecord {
  readonly node: Place;
  readonly image: string;
  readonly beganMs: number;
  readonly endedMs: number;
  readonly failure: string | undefined;
  /** Whether everything of the image was in the runtime's store and hashed to its name; of a pull that failed, false. */
  readonly isComplete: boolean;
  /** For each blob of the image, the nodes whose agents held it both when the pull began and when it ended. */
  readonly holders: readonly (readonly Place[])[];
}

export type Verdict =
  | { readonly type: 'well' }
  /** The faults that kept the registry from it, and why nobody else could give what it needed. */
  | { readonly type: 'excused'; readonly because: readonly FaultRecord[]; readonly and: Lack }
  | { readonly type: 'failed'; readonly reason: string };

export type Lack =
  /** So many of its blobs were held by no agent all the time. */
  | { readonly type: 'held-by-nobody'; readonly blobs: number }
  /** What was between the node and those who held it. */
  | { readonly type: 'in-the-way'; readonly faults: readonly FaultRecord[] };

export function verdictOf(pull: PullRecord, faults: readonly FaultRecord[]): Verdict {
  const tookMs = pull.endedMs - pull.beganMs;
  const isCalm = !faults.some((fault) => touches(fault, pull.beganMs - SETTLED_MS, pull.endedMs));
  if (tookMs > (isCalm ? CALM_DEADLINE_MS : PULL_DEADLINE_MS))
    return failed(`it took ${(tookMs / 1_000).toFixed(0)} s`);
  if (pull.failure === undefined) {
    return pull.isComplete
      ? { type: 'well' }
      : failed('it ended well, and yet the content is not complete or not right');
  }
  const because = faults.filter((fault) => isOutage(fault, pull.node) && touches(fault, pull.beganMs, pull.endedMs));
  if (because.length === 0) return failed(`it failed, and the registry could be reached: ${pull.failure}`);
  const and = lackOf(pull, faults);
  if (and !== undefined) return { type: 'excused', because, and };
  return failed(`it failed, and all of the image was within reach: ${pull.failure}`);
}

function failed(reason: string): Verdict {
  return { type: 'failed', reason };
}

/** Whether the fault keeps a node from the registry. */
function isOutage({ kind, place }: FaultRecord, node: Place): boolean {
  return place === 'origin' || (place === node && kind === 'link-cut');
}

/** What kept the node's agent from getting all of the image from agents; undefined when nothing did. */
function lackOf({ node, holders, beganMs, endedMs }: PullRecord, faults: readonly FaultRecord[]): Lack | undefined {
  const hurting = (place: Place): FaultRecord[] =>
    faults.filter((fault) => fault.place === place && touches(fault, beganMs - SETTLED_MS, endedMs));
  const blobs = holders.filter((places) => places.length === 0).length;
  if (blobs > 0) return { type: 'held-by-nobody', blobs };
  const inTheWay = new Set([...hurting(node), ...hurting('tracker')]);
  for (const places of holders) {
    if (places.includes(node) || places.some((place) => hurting(place).length === 0)) continue;
    for (const fault of places.flatMap(hurting)) inTheWay.add(fault);
  }
  return inTheWay.size === 0 ? undefined : { type: 'in-the-way', faults: [...inTheWay] };
}
