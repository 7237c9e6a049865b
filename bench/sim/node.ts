/** One agent of the simulated cluster: what it is, what it holds, and what is under way at it. */
import type { BlobSwarm, Random, UploadQueue } from '@shoal/swarm';
import { EqualShareLink } from './equal-share-link.ts';
import type { Reading } from './reading.ts';
import type { Transfer } from './transfer.ts';

/**
 * `idle`: it does not want the blob yet, or is dead. `pulling`: its swarm works. `auditing`: every piece is here, but some are wrong.
 * `complete`: every piece was compared. `failed`: it gave up.
 */
export type NodeState = 'idle' | 'pulling' | 'auditing' | 'complete' | 'failed';

/** What part a node plays. Only honest ones are measured; `late` ones began after the others. */
export interface NodeRole {
  liar: boolean;
  corrupt: boolean;
  /** Stalls: does nothing for a while. */
  fate: 'stays' | 'stalls' | 'dies' | 'restarts';
  seed: boolean;
}

/**
 * A copy of a piece is a number: who signed it, and whether it is wrong. 0 is no copy. What is wrong is wrong in one way per
 * signer, or in the same way for all liars that lie together.
 */
export function copyOf(signer: number, wrong: boolean): number {
  return 2 * (signer + 1) + (wrong ? 1 : 0);
}

export function signerOfCopy(copy: number): number {
  return (copy >> 1) - 1;
}

export function isWrong(copy: number): boolean {
  return (copy & 1) === 1;
}

/** A lease as its holder knows it. */
export interface HeldRun {
  readonly id: string;
  readonly source: 'origin' | 'zone';
  readonly from: number;
  to: number;
  readonly bytesBefore: number;
  /** Not told to the tracker yet. */
  ranges: boolean | undefined;
  renewing: boolean;
}

export interface NodeOptions {
  index: number;
  zone: number;
  pieceCount: number;
  bytesPerMs: number;
  role: NodeRole;
  startMs: number;
  random: Random;
}

const NOBODY: ReadonlySet<number> = new Set();

export class SimNode {
  readonly index: number;
  readonly id: string;
  readonly zone: number;
  readonly zoneName: string;
  readonly role: NodeRole;
  readonly startMs: number;
  readonly random: Random;

  state: NodeState = 'idle';
  /** Counts deaths, so that what was meant for an earlier life is not taken for this one's. */
  life = 0;
  alive = false;
  /** It does nothing before this time. */
  frozenUntilMs = 0;
  frozenAtMs = 0;
  endedMs = 0;
  failure = '';

  swarm: BlobSwarm | undefined;
  /** Per piece, the copy held. */
  readonly copies: Int32Array;
  held = 0;
  /** The piece that its reader waits for. */
  readAt = 0;

  // Its links.
  readonly bytesPerMs: number;
  readonly up: EqualShareLink<Transfer>;
  /** When the event is due that looks at `up` again. */
  upEventMs: number = Number.POSITIVE_INFINITY;
  /** Until when its down-link is taken by what is on its way. */
  downTakenUntilMs = 0;

  // What it serves.
  uploads: UploadQueue<Transfer>;

  // What it gets.
  readonly inFlight: Transfer[] = [];
  /** What it was being sent when it died. */
  readonly owed: Transfer[] = [];
  reading: Reading | undefined;
  originBytes = 0;
  readonly leases: Map<string, HeldRun> = new Map();
  renewals = 0;

  // Whom it knows.
  readonly neighbours: SimNode[] = [];
  /** Met earlier, or before the run. */
  known: SimNode[] = [];
  readonly dialledAtMs: Map<SimNode, number> = new Map();
  readonly dialling: Set<SimNode> = new Set();
  dialQueue: SimNode[] = [];
  readonly dialFailures: Map<SimNode, { count: number; notBeforeMs: number }> = new Map();
  /** Pieces that neighbours are told of when the window ends. */
  fresh: number[] = [];
  freshWindowOpen = false;

  // The tracker, as this node sees it.
  trackerUp = false;
  /** Counts rounds asked for, so that one that was overtaken is not made. */
  round = 0;
  haveIsNews = false;
  /** As the tracker named them, and whom this node found out itself. */
  avoided: ReadonlySet<number> = NOBODY;
  readonly convicted: Set<number> = new Set();
  barred: ReadonlySet<number> = NOBODY;
  auditLeftMs = 0;
  /** When its audit last got on, or somebody else's was heard of. */
  auditMovedMs = 0;
  /** Counts audits begun and ended, so that what was meant for an earlier one is not taken for this one's. */
  audits = 0;
  endAudit: (() => void) | undefined;
  /** Pieces that it reads as a witness. */
  readonly duties: Set<number> = new Set();

  constructor(options: NodeOptions, uploads: UploadQueue<Transfer>) {
    const { index, zone, pieceCount, bytesPerMs, role, startMs, random } = options;
    this.index = index;
    this.id = `node-${index}`;
    this.zone = zone;
    this.zoneName = `zone-${zone}`;
    this.role = role;
    this.startMs = startMs;
    this.random = random;
    this.copies = new Int32Array(pieceCount);
    this.bytesPerMs = bytesPerMs;
    this.up = new EqualShareLink(bytesPerMs);
    this.uploads = uploads;
  }

  get honest(): boolean {
    return !this.role.liar && !this.role.corrupt;
  }

  /** Whether what happens to its swarm still matters. */
  get active(): boolean {
    return this.state === 'pulling' || this.state === 'auditing';
  }

  /** Whether it answers requests for pieces. */
  get serves(): boolean {
    return this.alive && this.state !== 'failed';
  }

  firstMissing(from = 0): number {
    let index = from;
    while (index < this.copies.length && this.copies[index] !== 0) index++;
    return index;
  }

  /** The pieces here that one of these nodes signed, this one left out. */
  signedBy(signers: ReadonlySet<number>): number[] {
    const found: number[] = [];
    for (let index = 0; index < this.copies.length; index++) {
      const signer = signerOfCopy(this.copies[index] as number);
      if (signer !== this.index && signers.has(signer)) found.push(index);
    }
    return found;
  }

  wrongPieces(): number[] {
    const wrong: number[] = [];
    for (let index = 0; index < this.copies.length; index++)
      if (isWrong(this.copies[index] as number)) wrong.push(index);
    return wrong;
  }
}
