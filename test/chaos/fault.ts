/** What goes wrong on purpose, and what the run notes of it. All times are milliseconds since the run began. */

export const FAULT_KINDS = [
  /** SIGKILL; started again at its end. */
  'agent-killed',
  /** SIGSTOP; it answers nothing, and its connections stay. */
  'agent-stopped',
  /** SIGTERM: what is under way goes on, then it ends; started again at its end. */
  'agent-drained',
  /** Not a byte is left on the disk of its agent. */
  'disk-full',
  /** Nothing leaves the node and nothing comes to it. */
  'link-cut',
  'tracker-killed',
  'tracker-stopped',
  'origin-cut',
  'origin-killed',
  'origin-stopped',
  /** It answers nothing but 429 and 500. */
  'origin-sick',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** `node-1`, `node-2`, …, or one of the two that are there once. One fault at a time is at one place. */
export type Place = 'origin' | 'tracker' | `node-${number}`;

export interface Fault {
  readonly kind: FaultKind;
  readonly place: Place;
  readonly startMs: number;
  readonly endMs: number;
}

/** A fault as it really was: it takes effect a little late, and ends when what it hit is ready again. */
export interface FaultRecord {
  readonly kind: FaultKind;
  readonly place: Place;
  readonly beganMs: number;
  /** Undefined while it lasts. */
  endedMs: number | undefined;
}

/** Whether there was some of the fault in that time. */
export function touches(
  { beganMs, endedMs = Number.POSITIVE_INFINITY }: FaultRecord,
  fromMs: number,
  toMs: number,
): boolean {
  return beganMs <= toMs && endedMs >= fromMs;
}

export function nodePlace(index: number): Place {
  return `node-${index + 1}`;
}
