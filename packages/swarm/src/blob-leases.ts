/** What the lease table knows of one blob: what nobody has read, what each zone lacks, and who got what. */
import type { BlobId } from '@shoal/oci';
import { AskRate } from './ask-rate.ts';
import { pieceCountOf, pieceSizeOf } from './piece.ts';
import { type Run, Runs } from './runs.ts';
import { type SavedBlob, type SavedGot, savedRuns } from './saved-leases.ts';
import type { LeaseSource } from './swarm-event.ts';

const MiB = 1024 * 1024;
/** A run is this part of its blob, within the bounds below: small enough to share the work, large enough for a request. */
const RUNS_PER_BLOB = 32;
const MIN_RUN_BYTES = MiB;
const MAX_RUN_BYTES = 16 * MiB;
/** While nobody else asks, an agent's runs double up to this. */
const MAX_LONE_RUN_BYTES = 256 * MiB;
/** A blob that nobody asked about for this long is forgotten. */
const FORGET_AFTER_MS = 10 * 60_000;
const MAX_BLOBS = 65_536;
const MAX_ZONES = 64;
/** Runs remembered as just read. */
const MAX_FRESH = 64;
const MAX_RESCUED_AGENTS = 1_024;
/** In place of an agent: whoever brought a run does not hold the blob any more. */
export const NOBODY = '';

export interface Lease {
  readonly id: string;
  readonly blob: BlobLeases;
  readonly agent: string;
  readonly zone: string;
  readonly registry: string;
  readonly source: LeaseSource;
  readonly from: number;
  /** Where it ends now. */
  to: number;
  /** The first piece that the holder lacks, as far as it has told, and when it told so. */
  next: number;
  nextAtMs: number;
  /** What the holder has told, and when; and how much of that had come before it began with this lease. */
  bytes: number;
  bytesBefore: number;
  bytesAtMs: number;
  /** Covers the whole blob, of an origin that sends everything. */
  whole: boolean;
  /** For somebody who starved: others may hold leases for the same pieces. */
  readonly extra: boolean;
  /** Its last piece was given to a second holder, too, or is all there is of it and a first holder has it. */
  shared: boolean;
  /** When its holder could begin with it, and at which piece: it reads one lease of a blob after the other. */
  startedAtMs: number;
  startedFrom: number;
  /** It was made shorter, and its holder has not been heard of since: it may be reading on. */
  cutUnheard: boolean;
  expiresAtMs: number;
}

interface Got extends Run {
  agent: string;
}

interface Zone {
  /** Pieces that some other zone has or is reading, and that this one neither has nor is getting. */
  lacks: Runs;
  /** Who brought which pieces into the zone. */
  got: Got[];
  /** Those of `lacks` that somebody could not fetch from any other zone. */
  readonly vain: Runs;
}

export class BlobLeases {
  readonly id: BlobId;
  readonly sizeBytes: number;
  readonly pieceCount: number;
  readonly pieceBytes: number;
  readonly asks: AskRate = new AskRate();
  /** Pieces that nobody has read or is reading from the origin. */
  readonly unread: Runs;
  leases: Lease[] = [];
  /** When pieces were last read again for somebody who starved. */
  lastExtraAtMs: number = Number.NEGATIVE_INFINITY;
  readonly #zones = new Map<string, Zone>();
  /** What was left unread because members of other zones hold everything. */
  readonly #elsewhere: Got[] = [];
  /** What was read from the origin last, the latest last. */
  readonly #fresh: (Got & { atMs: number })[] = [];
  /** How many pieces were last read again for an agent that starved. */
  readonly #rescued = new Map<string, number>();
  readonly #run: number;
  readonly #maxLoneRun: number;

  constructor(id: BlobId, sizeBytes: number) {
    this.id = id;
    this.sizeBytes = sizeBytes;
    this.pieceCount = pieceCountOf(sizeBytes);
    this.unread = Runs.all(this.pieceCount);
    const pieceBytes = pieceSizeOf(sizeBytes);
    this.pieceBytes = pieceBytes;
    const runBytes = Math.min(MAX_RUN_BYTES, Math.max(MIN_RUN_BYTES, sizeBytes / RUNS_PER_BLOB));
    this.#run = Math.max(1, Math.ceil(runBytes / pieceBytes));
    this.#maxLoneRun = Math.max(this.#run, Math.ceil(MAX_LONE_RUN_BYTES / pieceBytes));
  }

  static restored(id: BlobId, saved: SavedBlob): BlobLeases {
    const blob = new BlobLeases(id, saved.sizeBytes);
    blob.unread.remove(0, blob.pieceCount);
    for (const [from, to] of saved.unread) blob.unread.add(from, Math.min(to, blob.pieceCount));
    for (const { name, lacks, vain, got } of saved.zones.slice(0, MAX_ZONES)) {
      const zone: Zone = { lacks: new Runs(), vain: new Runs(), got: got.map(gotOf) };
      for (const [from, to] of lacks) zone.lacks.add(from, to);
      for (const [from, to] of vain) zone.vain.add(from, to);
      blob.#zones.set(name, zone);
    }
    blob.#elsewhere.push(...saved.elsewhere.map(gotOf));
    return blob;
  }

  /** All that is known beside the leases. */
  save(): SavedBlob {
    return {
      sizeBytes: this.sizeBytes,
      unread: savedRuns(this.unread),
      zones: [...this.#zones].map(([name, { lacks, vain, got }]) => ({
        name,
        lacks: savedRuns(lacks),
        vain: savedRuns(vain),
        got: got.map(savedGot),
      })),
      elsewhere: this.#elsewhere.map(savedGot),
    };
  }

  noteZone(name: string): void {
    if (this.#zones.has(name) || this.#zones.size >= MAX_ZONES) return;
    const lacks = new Runs();
    for (const { from, to } of this.unread.outside(0, this.pieceCount)) lacks.add(from, to);
    this.#zones.set(name, { lacks, got: [], vain: new Runs() });
  }

  /** The agent gave the blob up: what it alone brought may be lost. */
  disown(agent: string): void {
    for (const { got } of this.#zones.values()) {
      for (const run of got) if (run.agent === agent) run.agent = NOBODY;
    }
    for (const run of this.#elsewhere) if (run.agent === agent) run.agent = NOBODY;
  }

  /** Members of other zones hold everything: the origin need not be read. */
  heldElsewhere(agents: readonly string[]): void {
    const [agent] = agents;
    if (agent === undefined) return;
    for (const { from, to } of [...this.unread]) {
      this.unread.remove(from, to);
      for (const zone of this.#zones.values()) zone.lacks.add(from, to);
      this.#elsewhere.push({ agent, from, to });
    }
  }

  /** Nobody holds everything any more: what no zone got from there must come from the origin after all. */
  heldNowhere(): void {
    for (const { from, to } of this.#elsewhere.splice(0)) {
      const lost = new Runs();
      lost.add(from, to);
      for (const { got } of this.#zones.values()) for (const run of got) lost.remove(run.from, run.to);
      for (const lease of this.leases) lost.remove(lease.from, lease.next);
      for (const run of lost) {
        this.unread.add(run.from, run.to);
        for (const { lacks } of this.#zones.values()) lacks.remove(run.from, run.to);
      }
    }
  }

  /**
   * How many pieces this agent should be given at once.
   * @param others whether others want the blob, too, though they may not have asked yet: a long run would be cut for them
   */
  runPieces(agent: string, others: boolean, nowMs: number): number {
    const last = others ? undefined : this.asks.lastRunIfAlone(agent, nowMs);
    return last === undefined ? this.#run : Math.min(this.#maxLoneRun, Math.max(this.#run, 2 * last));
  }

  /** The holder of this lease has read the pieces from `next` on up to `to`. */
  wasRead({ agent, source, next }: Lease, to: number, nowMs: number): void {
    if (source !== 'origin') return;
    if (this.#fresh.length >= MAX_FRESH) this.#fresh.shift();
    this.#fresh.push({ agent, from: next, to, atMs: nowMs });
  }

  /** Who has read the piece within the last `withinMs`: it may be on its way to the others. */
  freshFrom(piece: number, withinMs: number, nowMs: number): string[] {
    const isFresh = ({ from, to, atMs }: Run & { atMs: number }): boolean =>
      from <= piece && piece < to && nowMs - atMs < withinMs;
    return this.#fresh.filter(isFresh).map(({ agent }) => agent);
  }

  /** How many pieces to read again for an agent that starves: more each time it does. */
  rescuePieces(agent: string, most: number): number {
    const pieces = Math.min(most, 2 * (this.#rescued.get(agent) ?? 1 / 2));
    if (this.#rescued.size >= MAX_RESCUED_AGENTS) this.#rescued.clear();
    this.#rescued.set(agent, pieces);
    return pieces;
  }

  /** Leases of this kind; of one zone, if given. */
  readers(source: LeaseSource, zone?: string): number {
    let count = 0;
    for (const lease of this.leases) {
      if (lease.source === source && (zone === undefined || lease.zone === zone)) count++;
    }
    return count;
  }

  /** What the zone lacks and others have: the run from `piece` on if it is among that, else the first. */
  lackedBy(zone: string, piece: number | undefined): Run | undefined {
    const lacks = this.#zones.get(zone)?.lacks;
    const wanted = piece === undefined ? undefined : lacks?.runAt(piece);
    if (wanted !== undefined && piece !== undefined) return { from: piece, to: wanted.to };
    return lacks?.first();
  }

  /** The pieces from this one on, up to `to`, that somebody of the zone tried in vain to fetch from others. */
  vainly(zone: string, { from, to }: Run): Run | undefined {
    const run = this.#zones.get(zone)?.vain.runAt(from);
    return run === undefined ? undefined : { from, to: Math.min(to, run.to) };
  }

  /** Who brought this piece into the zone, and up to where nobody holds a lease there; undefined if somebody does for it. */
  gotBy(zone: string, piece: number): Got | undefined {
    const got = this.#zones.get(zone)?.got.find(({ from, to }) => from <= piece && piece < to);
    if (got === undefined) return undefined;
    let { to } = got;
    for (const lease of this.leases) {
      if (lease.zone === zone && piece < lease.to) to = Math.min(to, Math.max(piece, lease.next));
    }
    return to === piece ? undefined : { ...got, to };
  }

  /** The run with this piece that another zone is reading, or that somebody who is not lost brought there. */
  gotElsewhere(zone: string, piece: number, isLost: (agent: string) => boolean): Run | undefined {
    const covers = ({ from, to }: Run): boolean => from <= piece && piece < to;
    const isThere = (run: Got): boolean => covers(run) && !isLost(run.agent);
    const lease = this.leases.find((other) => other.source === 'origin' && other.zone !== zone && covers(other));
    if (lease !== undefined) return lease;
    for (const [name, { got }] of this.#zones) {
      const found = name === zone ? undefined : got.find(isThere);
      if (found !== undefined) return found;
    }
    return this.#elsewhere.find(isThere);
  }

  /** Agents of other zones that have or are reading pieces of [from, to). */
  agentsWith(from: number, to: number, exceptZone: string): string[] {
    const agents = new Set<string>();
    for (const lease of this.leases) {
      if (lease.zone !== exceptZone && lease.from < to && lease.to > from) agents.add(lease.agent);
    }
    for (const [name, { got }] of this.#zones) {
      if (name === exceptZone) continue;
      for (const run of got) if (run.from < to && run.to > from) agents.add(run.agent);
    }
    for (const run of this.#elsewhere) if (run.from < to && run.to > from) agents.add(run.agent);
    return [...agents];
  }

  /** The lease that its holder is to finish before it begins with this one. */
  before(lease: Lease): Lease | undefined {
    const first = this.#firstOf(lease);
    return first === lease ? undefined : first;
  }

  /** The holder has given back the lease that it was at, and may begin with its next one. */
  begin({ agent, source }: Lease, nowMs: number): void {
    const next = this.#firstOf({ agent, source });
    if (next === undefined) return;
    next.startedAtMs = nowMs;
    next.startedFrom = next.next;
    next.nextAtMs = nowMs;
    next.bytesBefore = next.bytes;
  }

  /** The lease's pieces are being got by its zone now, and are to be had there by every other one. */
  take(lease: Lease): void {
    if (!this.leases.includes(lease)) this.leases.push(lease);
    const { from, to } = lease;
    for (const [name, { lacks }] of this.#zones) {
      if (name === lease.zone) lacks.remove(from, to);
      else if (lease.source === 'origin') for (const run of this.unread.within(from, to)) lacks.add(run.from, run.to);
    }
    if (lease.source === 'origin') this.unread.remove(from, to);
  }

  /** The holder of this zone lease got nothing more in all its time. */
  foundVain({ zone, next, to }: Lease): void {
    this.#zones.get(zone)?.vain.add(next, to);
  }

  /** What the holder has read is its zone's; the rest is free again, unless another lease covers it. */
  giveBack(lease: Lease): void {
    this.leases = this.leases.filter((other) => other !== lease);
    const zone = this.#zones.get(lease.zone);
    if (zone !== undefined && lease.next > lease.from) {
      zone.got = withRun(zone.got, { agent: lease.agent, from: lease.from, to: lease.next });
      zone.vain.remove(lease.from, lease.next);
    }
    const rest = new Runs();
    rest.add(lease.next, lease.to);
    for (const other of this.leases) {
      if (other.zone === lease.zone) rest.remove(other.from, other.to);
    }
    for (const { from, to } of zone?.got ?? []) rest.remove(from, to);
    if (lease.source === 'zone') {
      for (const { from, to } of rest)
        for (const run of this.unread.outside(from, to)) zone?.lacks.add(run.from, run.to);
      return;
    }
    // Other zones may have got, or be getting, part of it: the origin need not be read for that.
    for (const { from, to } of [...rest]) {
      for (const run of this.#runsElsewhere(lease.zone)) {
        const there = { from: Math.max(from, run.from), to: Math.min(to, run.to) };
        if (there.from >= there.to) continue;
        zone?.lacks.add(there.from, there.to);
        rest.remove(there.from, there.to);
      }
    }
    for (const { from, to } of rest) {
      this.unread.add(from, to);
      for (const { lacks } of this.#zones.values()) lacks.remove(from, to);
    }
  }

  /** The lease that this holder is at: one for somebody who starves, else the oldest. */
  #firstOf({ agent, source }: Pick<Lease, 'agent' | 'source'>): Lease | undefined {
    const all = this.leases.filter((other) => other.agent === agent && other.source === source);
    return all.findLast(({ extra }) => extra) ?? all[0];
  }

  /** What other zones have, or are reading from the origin. */
  *#runsElsewhere(zone: string): Generator<Run> {
    for (const [name, { got }] of this.#zones) if (name !== zone) yield* got;
    for (const lease of this.leases) if (lease.source === 'origin' && lease.zone !== zone) yield lease;
  }
}

function savedGot({ agent, from, to }: Got): SavedGot {
  return [agent, from, to];
}

function gotOf([agent, from, to]: SavedGot): Got {
  return { agent, from, to };
}

/** Later runs win over earlier ones; what touches and has the same agent is joined. */
function withRun(runs: readonly Got[], added: Got): Got[] {
  const rest = runs.flatMap((run) => {
    if (run.to <= added.from || run.from >= added.to) return [run];
    const left = { ...run, to: Math.min(run.to, added.from) };
    const right = { ...run, from: Math.max(run.from, added.to) };
    return [left, right].filter(({ from, to }) => from < to);
  });
  return [...rest, added];
}

/** Every blob somebody asked about lately. */
export class BlobLeasesMap {
  /** The one nobody asked about for the longest time first. */
  readonly #blobs = new Map<BlobId, { leases: BlobLeases; askedAtMs: number }>();

  /** Undefined when there are too many blobs, or the size is not what others said it was while they read. */
  of(blob: BlobId, sizeBytes: number, nowMs: number): BlobLeases | undefined {
    let known = this.#blobs.get(blob);
    if (known !== undefined && known.leases.sizeBytes !== sizeBytes) {
      if (known.leases.leases.length > 0) return undefined;
      known = undefined;
    }
    if (known === undefined && this.#blobs.size >= MAX_BLOBS) return undefined;
    known ??= { leases: new BlobLeases(blob, sizeBytes), askedAtMs: nowMs };
    known.askedAtMs = nowMs;
    this.#blobs.delete(blob);
    this.#blobs.set(blob, known);
    return known.leases;
  }

  restore(leases: BlobLeases, nowMs: number): void {
    if (this.#blobs.size >= MAX_BLOBS) return;
    this.#blobs.set(leases.id, { leases, askedAtMs: nowMs });
  }

  /** What somebody asked about lately. */
  known(blob: BlobId): BlobLeases | undefined {
    return this.#blobs.get(blob)?.leases;
  }

  expire(nowMs: number): void {
    for (const [blob, { leases, askedAtMs }] of this.#blobs) {
      if (nowMs - askedAtMs < FORGET_AFTER_MS) return;
      if (leases.leases.length === 0) this.#blobs.delete(blob);
      else return;
    }
  }
}
