/** What a run of the simulator is about: plain data, and with its seed all there is to know to repeat it. */
import { type BlobSwarmOptions, DEFAULT_UPLOAD_SLOTS } from '@shoal/swarm';

const MiB = 1024 * 1024;

export interface Span {
  fromMs: number;
  toMs: number;
}

/** Shares are of all nodes, from 0 to 1, in whole nodes; rates are bits per second, in each direction. */
export interface Plan {
  seed: number;
  /** Nodes that pull the blob from the start on. */
  nodes: number;
  blobBytes: number;
  zones: number;
  link: number;
  originLink: number;
  /** One way, within a zone. */
  latencyMs: number;
  /** One way, between zones. */
  zoneLatencyMs: number;
  originLatencyMs: number;
  trackerLatencyMs: number;
  /** Pulls begin evenly within this time. */
  startSpreadMs: number;
  /** Further nodes that hold the whole blob from the start on. */
  seeds: number;
  /** Nodes whose link carries only so much of what others carry. */
  slow: { share: number; factor: number };

  // How agents are set up; the defaults are those of the agent.
  uploadSlots: number;
  /** What a node that was refused waits before it asks again. */
  busyRetryMs: number;
  maxConnections: number;
  /** Neighbours that an agent dials for. */
  neighbours: number;
  /** Members that an agent is connected to before it wants anything, introduced by the tracker; they know it, too. */
  acquaintances: number;
  /** Members that an agent knows from earlier, for when there is no tracker. */
  knownMembers: number;
  /** Members named in one answer of the tracker. */
  sampleSize: number;
  swarm: Partial<Omit<BlobSwarmOptions, 'pieceCount' | 'zone' | 'self' | 'blob'>>;

  tracker: {
    /** Without one, agents know some members from earlier. */
    exists: boolean;
    /** What one call costs it; calls wait in line. */
    announceMs: number;
    leaseMs: number;
    /** It does not answer; afterwards it knows nothing any more, or everything as before. */
    outages: (Span & { losesState: boolean })[];
  };
  origin: {
    /** Whether it honours requests for a range. */
    ranges: boolean;
    /** Of its responses: this part breaks off at some piece, this part falls silent at some piece. */
    failing: number;
    stalling: number;
    /** Requests are answered 503 (`failed`, with a Retry-After if given) or 404 (`refused`). */
    outages: (Span & { how: 'failed' | 'refused'; retryAfterMs?: number })[];
  };

  /** Nodes die at random moments of this time from the start on, and so do restarts, stalls and flaps begin. */
  faultsWithinMs: number | undefined;
  /** This part of the nodes dies without a word, and as many others join. */
  churn: number;
  /** This part dies and comes back with the pieces that it had. */
  restarts: { share: number; downMs: number };
  /** This part stops doing anything for a while, and goes on. */
  stalls: { share: number; forMs: number };
  /** This many times per node, on average, a connection breaks and comes back. */
  flaps: { perNode: number; downMs: number };
  /** What a neighbour is told of new pieces is late by up to this. */
  haveDelayMs: number;
  /** Nodes (not a share) that sign wrong content for this part of the pieces that they read from the origin. */
  liars: { count: number; pieces: number; together: boolean };
  /** This part of the nodes sends bytes that do not match the attestation, for this part of the pieces. */
  corrupt: { share: number; pieces: number };

  /** Virtual time after which the run is given up. */
  limitMs: number;
  /** Utilisation is noted this often; 0: never. */
  traceEveryMs: number;
}

export const DEFAULT_PLAN: Plan = {
  seed: 1,
  nodes: 100,
  blobBytes: 1024 * MiB,
  zones: 1,
  link: 1e9,
  originLink: 1e9,
  latencyMs: 1,
  zoneLatencyMs: 5,
  originLatencyMs: 10,
  trackerLatencyMs: 1,
  startSpreadMs: 0,
  seeds: 0,
  slow: { share: 0, factor: 0.1 },
  uploadSlots: DEFAULT_UPLOAD_SLOTS,
  busyRetryMs: 100,
  maxConnections: 64,
  neighbours: 12,
  acquaintances: 8,
  knownMembers: 16,
  sampleSize: 24,
  swarm: {},
  tracker: { exists: true, announceMs: 0.2, leaseMs: 0.1, outages: [] },
  origin: { ranges: true, failing: 0, stalling: 0, outages: [] },
  faultsWithinMs: undefined,
  churn: 0,
  restarts: { share: 0, downMs: 1_000 },
  stalls: { share: 0, forMs: 1_000 },
  flaps: { perNode: 0, downMs: 500 },
  haveDelayMs: 0,
  liars: { count: 0, pieces: 0.5, together: false },
  corrupt: { share: 0, pieces: 1 },
  limitMs: 15 * 60_000,
  traceEveryMs: 0,
};

/** A plan of which only what matters is said. */
export type PlanInput = { [Key in keyof Plan]?: Plan[Key] extends unknown[] ? Plan[Key] : Loose<Plan[Key]> };
type Loose<T> = T extends readonly unknown[] | undefined ? T : T extends object ? Partial<T> : T;

/** @throws RangeError naming what is out of range, TypeError naming what is not known */
export function completePlan(input: PlanInput): Plan {
  const plan: Record<string, unknown> = { ...DEFAULT_PLAN };
  for (const [key, value] of Object.entries(input)) {
    if (!(key in DEFAULT_PLAN)) throw new TypeError(`a plan has no "${key}"`);
    if (value === undefined) continue;
    const known = plan[key];
    plan[key] = isObject(known) && isObject(value) ? { ...known, ...value } : value;
  }
  const complete = plan as unknown as Plan;
  check(complete);
  return complete;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function check(plan: Plan): void {
  const within = (name: string, value: number, min: number, max: number): void => {
    if (!(value >= min && value <= max)) throw new RangeError(`${name} must be from ${min} to ${max}, not ${value}`);
  };
  const whole = (name: string, value: number, min: number, max: number): void => {
    within(name, value, min, max);
    if (!Number.isInteger(value)) throw new RangeError(`${name} must be a whole number, not ${value}`);
  };
  whole('nodes', plan.nodes, 1, 1_000_000);
  whole('seeds', plan.seeds, 0, 1_000_000);
  whole('blobBytes', plan.blobBytes, 1, 2 ** 42);
  whole('zones', plan.zones, 1, 64);
  whole('uploadSlots', plan.uploadSlots, 1, 1_024);
  whole('maxConnections', plan.maxConnections, 1, 4_096);
  whole('liars', plan.liars.count, 0, plan.nodes);
  within('link', plan.link, 1e6, 1e12);
  within('originLink', plan.originLink, 1e6, 1e13);
  for (const name of ['latencyMs', 'zoneLatencyMs', 'originLatencyMs', 'trackerLatencyMs'] as const) {
    within(name, plan[name], 0, 10_000);
  }
  within('churn', plan.churn, 0, 1);
  within('slow.share', plan.slow.share, 0, 1);
  within('slow.factor', plan.slow.factor, 0.001, 1);
  within('restarts.share', plan.restarts.share, 0, 1);
  within('stalls.share', plan.stalls.share, 0, 1);
  within('corrupt.share', plan.corrupt.share, 0, 1);
  within('corrupt.pieces', plan.corrupt.pieces, 0, 1);
  within('liars.pieces', plan.liars.pieces, 0, 1);
  within('origin.failing', plan.origin.failing, 0, 1);
  within('origin.stalling', plan.origin.stalling, 0, 1);
}
