/** What every part of the world refers to: the plan, the time, the blob, the counters, and the swarms' ears. */
import { type BlobId, parseBlobId } from '@shoal/oci';
import { pieceCountOf, pieceExtent, type Random, type SwarmEvent, seededRandom } from '@shoal/swarm';
import type { SimNode } from './node.ts';
import type { Plan } from './plan.ts';
import { Timeline } from './timeline.ts';

const MAX_VIOLATIONS = 20;
const BITS_PER_BYTE_AND_MS = 8_000;

/** Bytes are of pieces, also of those that were not sent to the end. */
export class Tally {
  originBytes = 0;
  originRequests = 0;
  peerBytes = 0;
  crossZoneBytes = 0;
  /** Sent by peers for nothing: cancelled, or of a piece that came from elsewhere meanwhile. */
  wastedBytes = 0;
  receivedBytes = 0;
  corruptPieces = 0;
  requests = 0;
  busy = 0;
  notHeld = 0;
  slow = 0;
  havesDelivered = 0;
  leaseAsks = 0;
  leaseAsksPerSecondPeak = 0;
  findPeers = 0;
  audits = 0;
  auditReads = 0;
  piecesLost = 0;
}

export interface WorldEars {
  /** Tells a node's swarm something and has its decisions carried out; nothing when it does not pull. */
  tell(node: SimNode, event: SwarmEvent): void;
  /** A piece has come in and was verified. @param from undefined: the origin */
  keep(node: SimNode, index: number, copy: number, from: SimNode | undefined): void;
}

export class Setting {
  readonly plan: Plan;
  readonly timeline = new Timeline();
  readonly tally = new Tally();
  readonly violations: string[] = [];
  readonly blob: BlobId = blobOf(1);
  readonly pieceCount: number;
  readonly nodes: SimNode[] = [];
  readonly byId = new Map<string, SimNode>();
  readonly #pieceBytes: number;
  readonly #lastBytes: number;

  constructor(plan: Plan) {
    this.plan = plan;
    this.pieceCount = pieceCountOf(plan.blobBytes);
    this.#pieceBytes = pieceExtent(plan.blobBytes, 0).length;
    this.#lastBytes = pieceExtent(plan.blobBytes, this.pieceCount - 1).length;
  }

  get nowMs(): number {
    return this.timeline.nowMs;
  }

  bytesOf(index: number): number {
    return index === this.pieceCount - 1 ? this.#lastBytes : this.#pieceBytes;
  }

  latencyMs(a: SimNode, b: SimNode): number {
    return a.zone === b.zone ? this.plan.latencyMs : this.plan.zoneLatencyMs;
  }

  /** Something that must never happen. */
  violation(what: string): void {
    if (this.violations.length < MAX_VIOLATIONS) this.violations.push(`at ${this.nowMs.toFixed(1)} ms: ${what}`);
  }

  /** For this node's present life only, and not while it is frozen. */
  laterFor(node: SimNode, delayMs: number, call: () => void): void {
    const { life } = node;
    const due = (): void => {
      if (node.life !== life || !node.alive) return;
      if (node.frozenUntilMs > this.nowMs) this.timeline.later(node.frozenUntilMs - this.nowMs, due);
      else call();
    };
    this.timeline.later(delayMs, due);
  }

  /** Randomness that depends on nothing else that happens. */
  randomFor(purpose: number): Random {
    return seededRandom(Math.imul(this.plan.seed, 0x9e3779b1) ^ Math.imul(purpose, 0x85ebca6b));
  }
}

export function bytesPerMs(bitsPerSecond: number): number {
  return bitsPerSecond / BITS_PER_BYTE_AND_MS;
}

function blobOf(number: number): BlobId {
  const blob = parseBlobId(`docker.io/sha256:${number.toString(16).padStart(64, '0')}`);
  if (blob === undefined) throw new Error('not a blob of a registry');
  return blob;
}
