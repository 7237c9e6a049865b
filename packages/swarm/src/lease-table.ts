/**
 * Who reads which pieces of which blob from where. The tracker asks it for every lease; it does no I/O and is told the time.
 *
 * A lease is a run of pieces. For each blob the table knows the pieces that nobody has read from the origin yet, and for
 * each zone the pieces that other zones have (or are reading) and this one has not. An agent that asks gets the first
 * run of what is unread, as an `origin` lease, or else of what its zone lacks, as a `zone` lease. So each piece leaves
 * the origin once and crosses a zone's boundary once, and several agents read in parallel.
 *
 *   unread ──origin lease──► got by the holder's zone ──► lacking in every other zone ──zone lease──► got there, too
 *      ▲                              │ holder dies, or is found dead when somebody starves for its pieces
 *      └──────────────────────────────┘
 *
 * A lease lives `leaseTtlMs` from its grant or from its last progress: a holder that stalls or dies loses it to whoever
 * asks next. The tail of a holder that is slow goes to whoever is idle.
 */
import { type BlobId, registryOf } from '@shoal/oci';
import { BlobLeases, BlobLeasesMap, type Lease, NOBODY } from './blob-leases.ts';
import { Complaints } from './complaints.ts';
import { maxHeld } from './held-leases.ts';
import { canServe, isUseless, type LeaseAsk, type LeaseProgress, type LeaseReply, refused } from './lease-ask.ts';
import { bringsSoon, expectedNext, remainingMs } from './lease-pace.ts';
import { pieceCountOf } from './piece.ts';
import { Registries } from './registries.ts';
import type { Run } from './runs.ts';
import { restoredLease, type SavedBlobLeases, savedLease } from './saved-leases.ts';
import type { LeaseSource, ReleaseHow } from './swarm-event.ts';

const DEFAULT_MAX_READERS_PER_BLOB = 16;
const DEFAULT_EXTRA_READER_EVERY_MS = 2_000;
const DEFAULT_MAX_LEASES_PER_REGISTRY = 64;
const DEFAULT_MAX_LEASES = 8_192;
/** Pieces read again for somebody who starves, at most: one the first time, then twice as many each time. */
const MAX_STARVED_RUN_PIECES = 16;
/** Renewals come every 500 ms. */
const CUT_HEARD_WITHIN_MS = 600;
const MAX_GONE_AGENTS = 16_384;
const MAX_HOLDERS_TOLD = 4;
/** How soon a refused agent may ask again when members of its zone hold the whole blob. */
const RETRY_WITH_HOLDERS_MS = 1_000;
const AUDIT_TTL_MS = 10_000;

export interface LeaseTableOptions {
  /** How long a lease lives without progress. */
  leaseTtlMs: number;
  /** Most agents that read one blob from its origin at once, and most that carry it into one zone. @default 16 */
  maxReadersPerBlob?: number;
  /** Pieces are read again for a starved agent only this long after the blob's last such grant. @default 2000 */
  extraReaderEveryMs?: number;
  /** Most origin leases at once on one registry. @default 64 */
  maxLeasesPerRegistry?: number;
  /** Most leases at once. @default 8192 */
  maxLeases?: number;
}

export interface LeaseTableDependencies {
  /** A new, unguessable id at each call. */
  newLeaseId: () => string;
  /** What `save` gives for this blob is another than before. */
  onChange?: (blob: BlobId) => void;
}

export class LeaseTable {
  readonly #options: Required<LeaseTableOptions>;
  readonly #newLeaseId: () => string;
  readonly #onChange: (blob: BlobId) => void;
  readonly #blobs = new BlobLeasesMap();
  /**
   * Every lease has the same TTL, and moves to the end when it is extended: the map is in order of expiry. Restored ones have
   * more time; those behind them may then expire as late.
   */
  readonly #leases = new Map<string, Lease>();
  readonly #byAgent = new Map<string, Set<Lease>>();
  readonly #registries = new Registries();
  /** Agents that left or let a lease run out, the longest ago first: what they alone had may be lost. */
  readonly #gone = new Set<string>();
  readonly #complaints = new Complaints();
  readonly #audits = new Map<BlobId, { agent: string; expiresAtMs: number }>();

  constructor(options: LeaseTableOptions, dependencies: LeaseTableDependencies) {
    this.#options = {
      maxReadersPerBlob: DEFAULT_MAX_READERS_PER_BLOB,
      extraReaderEveryMs: DEFAULT_EXTRA_READER_EVERY_MS,
      maxLeasesPerRegistry: DEFAULT_MAX_LEASES_PER_REGISTRY,
      maxLeases: DEFAULT_MAX_LEASES,
      ...options,
    };
    this.#newLeaseId = dependencies.newLeaseId;
    this.#onChange = dependencies.onChange ?? (() => undefined);
  }

  /** Leases held now. */
  get size(): number {
    return this.#leases.size;
  }

  /** Whether somebody asked about the blob lately. */
  knows(id: BlobId): boolean {
    return this.#blobs.known(id) !== undefined;
  }

  /** Undefined when nobody asked about the blob lately. */
  save(id: BlobId, nowMs: number): SavedBlobLeases | undefined {
    const blob = this.#blobs.known(id);
    if (blob === undefined) return undefined;
    const ranges = this.#registries.ranges.of(registryOf(id), nowMs);
    return { ...blob.save(), leases: blob.leases.map(savedLease), ...(ranges === undefined ? {} : { ranges }) };
  }

  /** Goes on with what another table had saved of a blob that is unknown here. */
  restore(id: BlobId, saved: SavedBlobLeases, nowMs: number): void {
    if (this.#blobs.known(id) !== undefined) return;
    const blob = BlobLeases.restored(id, saved);
    const { leaseTtlMs, maxLeases } = this.#options;
    const registry = registryOf(id);
    for (const each of saved.leases) {
      if (this.#leases.size >= maxLeases || this.#leases.has(each.id)) continue;
      const lease = restoredLease(each, { blob, registry, nowMs, leaseTtlMs });
      blob.leases.push(lease);
      this.#hold(lease);
    }
    // Readers starve because nobody could ask meanwhile: what they wait for is being read.
    blob.lastExtraAtMs = nowMs;
    this.#blobs.restore(blob, nowMs);
    if (saved.ranges !== undefined) this.#registries.ranges.note(registry, saved.ranges, nowMs);
  }

  request(ask: LeaseAsk, nowMs: number): LeaseReply {
    this.expire(nowMs);
    this.#gone.delete(ask.agent);
    const pieceCount = pieceCountOf(ask.sizeBytes);
    const blob = this.#blobs.of(ask.blob, ask.sizeBytes, nowMs);
    if (blob === undefined || pieceCount === 0) return refused(RETRY_WITH_HOLDERS_MS, []);
    blob.noteZone(ask.zone);
    blob.asks.note(ask.agent, nowMs);
    const own = blob.leases.filter(({ agent }) => agent === ask.agent);
    if (own.length >= maxHeld(ask.starved) || this.#leases.size >= this.#options.maxLeases) {
      return this.#refuse(blob, ask, nowMs);
    }
    for (const avoided of ask.avoid ?? []) this.#complaints.note(avoided, ask.agent, nowMs);
    if (this.#complaints.about(ask.agent, nowMs)) {
      return this.#forStarved(blob, ask, nowMs) ?? this.#refuse(blob, ask, nowMs);
    }
    if (ask.complete !== undefined && !ask.starved) {
      const sameZone = ask.complete.sameZone.filter((agent) => !isUseless(ask, agent));
      const otherZones = ask.complete.otherZones.filter((agent) => !isUseless(ask, agent));
      if (sameZone.length > 0) {
        const retryAfterMs = Math.max(RETRY_WITH_HOLDERS_MS, blob.asks.retryAfterMs(nowMs));
        return refused(retryAfterMs, sameZone.slice(0, MAX_HOLDERS_TOLD));
      }
      if (otherZones.length > 0) blob.heldElsewhere(otherZones);
      else if (ask.complete.otherZones.length === 0) blob.heldNowhere();
    }
    // Whoever starves and reads something already gets what it starves for, or nothing: more work would only wait for its turn.
    const onlyWanted = ask.starved && this.#reads(ask.agent, ask.registry);
    return (
      this.#lostPieces(blob, ask, nowMs) ??
      this.#unread(blob, ask, ask.starved, nowMs) ??
      this.#forStarved(blob, ask, nowMs) ??
      this.#unread(blob, ask, onlyWanted, nowMs) ??
      this.#lackedByZone(blob, ask, onlyWanted, nowMs) ??
      (onlyWanted ? undefined : this.#tailOfSlowHolder(blob, ask, nowMs)) ??
      this.#refuse(blob, ask, nowMs)
    );
  }

  /** `to` is where the lease ends now. `held` is false when it is not this agent's, or not any more. */
  renew(leaseId: string, agent: string, progress: LeaseProgress, nowMs: number): { held: boolean; to: number } {
    this.expire(nowMs);
    const lease = this.#leases.get(leaseId);
    if (lease === undefined || lease.agent !== agent) return { held: false, to: 0 };
    lease.cutUnheard = false;
    advance(lease, progress.next, nowMs);
    if (progress.ranges !== undefined && lease.source === 'origin') {
      this.#registries.ranges.note(lease.registry, progress.ranges, nowMs);
      if (!progress.ranges) this.#makeWhole(lease);
    }
    if (progress.bytes > lease.bytes) {
      if (lease.source === 'origin')
        this.#registries.noteRead(lease, progress.bytes - lease.bytes, nowMs - lease.bytesAtMs, nowMs);
      lease.bytes = progress.bytes;
      lease.bytesAtMs = nowMs;
      lease.expiresAtMs = nowMs + this.#options.leaseTtlMs;
      this.#leases.delete(leaseId);
      this.#leases.set(leaseId, lease);
    }
    this.#onChange(lease.blob.id);
    return { held: true, to: lease.to };
  }

  /** Somebody else's lease, or a lost one, is left alone. */
  release(leaseId: string, agent: string, { how, next }: { how: ReleaseHow; next: number }, nowMs: number): void {
    this.expire(nowMs);
    const lease = this.#leases.get(leaseId);
    if (lease === undefined || lease.agent !== agent) return;
    // A holder that is done may not have heard yet that its lease has become longer.
    advance(lease, next, nowMs);
    if (lease.source === 'origin' && lease.bytes === 0 && lease.next > lease.from) {
      const bytes = (lease.next - lease.from) * lease.blob.pieceBytes;
      this.#registries.noteRead(lease, bytes, nowMs - lease.startedAtMs, nowMs);
    }
    const wasAtIt = lease.blob.before(lease) === undefined;
    this.#drop(lease);
    if (wasAtIt) lease.blob.begin(lease, nowMs);
    if (how === 'no-range') this.#registries.ranges.note(lease.registry, false, nowMs);
  }

  /** The agent left: what it was reading is free for the next one that asks, and what it alone had counts as lost. */
  forgetAgent(agent: string): void {
    for (const lease of [...(this.#byAgent.get(agent) ?? [])]) this.#drop(lease);
    this.#noteGone(agent);
    for (const [blob, audit] of this.#audits) if (audit.agent === agent) this.#audits.delete(blob);
  }

  /** The agent does not hold the blob any more: what it alone brought counts as lost. */
  withdrawn(blob: BlobId, agent: string): void {
    const known = this.#blobs.known(blob);
    if (known === undefined) return;
    known.disown(agent);
    this.#onChange(blob);
  }

  /** Whether this agent is the one that audits the blob now; it stays so for 10 s after its last call. */
  audit(blob: BlobId, agent: string, nowMs: number): boolean {
    this.expire(nowMs);
    const auditor = this.#audits.get(blob);
    if (auditor !== undefined && auditor.agent !== agent) return false;
    if (auditor === undefined && this.#audits.size >= this.#options.maxLeases) return false;
    this.#audits.delete(blob);
    this.#audits.set(blob, { agent, expiresAtMs: nowMs + AUDIT_TTL_MS });
    return true;
  }

  /** The agent has found what there is to find: it is another one's turn. */
  endAudit(blob: BlobId, agent: string): void {
    if (this.#audits.get(blob)?.agent === agent) this.#audits.delete(blob);
  }

  /** Drops what has run out. Every other call does it first; this is for a table that nobody asks. */
  expire(nowMs: number): void {
    for (const lease of this.#leases.values()) {
      if (lease.expiresAtMs > nowMs) break;
      if (lease.source === 'zone') lease.blob.foundVain(lease);
      this.#drop(lease);
      this.#noteGone(lease.agent);
    }
    for (const [blob, audit] of this.#audits) {
      if (audit.expiresAtMs > nowMs) break;
      this.#audits.delete(blob);
    }
    this.#blobs.expire(nowMs);
  }

  /** What was read by an agent that is gone, silent or not to be trusted, and that the asker finds with nobody. */
  #lostPieces(blob: BlobLeases, ask: LeaseAsk, nowMs: number): LeaseReply | undefined {
    if (ask.piece === undefined) return undefined;
    const reader = blob.gotBy(ask.zone, ask.piece);
    if (reader === undefined) return undefined;
    const { agent } = reader;
    if (agent !== ask.agent && !this.#isLost(ask, agent)) return undefined;
    const to = Math.min(reader.to, ask.piece + this.#runPieces(blob, ask, nowMs));
    const elsewhere = this.#elsewhere(blob, ask, ask.piece);
    if (elsewhere === undefined) return this.#readAgain(blob, ask, { from: ask.piece, to }, nowMs);
    return this.#grant(blob, ask, { from: ask.piece, to: Math.min(to, elsewhere.to), source: 'zone' }, nowMs);
  }

  /** As much from the start of the run on as no other zone has. */
  #readAgain(blob: BlobLeases, ask: LeaseAsk, run: Run, nowMs: number): LeaseReply | undefined {
    if (this.#registries.ranges.of(ask.registry, nowMs) === false) return this.#wholeBlob(blob, ask, nowMs);
    let to = run.from + 1;
    while (to < run.to && this.#elsewhere(blob, ask, to) === undefined) to++;
    return this.#grant(blob, ask, { from: run.from, to, source: 'origin' }, nowMs);
  }

  /** What was brought into another zone with this piece, by somebody who is neither gone nor of no use to the asker. */
  #elsewhere(blob: BlobLeases, ask: LeaseAsk, piece: number): Run | undefined {
    return blob.gotElsewhere(ask.zone, piece, (agent) => this.#isLost(ask, agent));
  }

  /** Whether what that agent brought may be lost, to the asker at least. */
  #isLost(ask: LeaseAsk, agent: string): boolean {
    return agent === NOBODY || this.#gone.has(agent) || isUseless(ask, agent);
  }

  /** @param onlyWanted nothing but the piece asked for will do */
  #unread(blob: BlobLeases, ask: LeaseAsk, onlyWanted: boolean, nowMs: number): LeaseReply | undefined {
    const wanted = ask.piece === undefined ? undefined : blob.unread.runAt(ask.piece);
    if (onlyWanted && wanted === undefined) return undefined;
    const run = wanted ?? blob.unread.first();
    const isUrgent = ask.starved && wanted !== undefined;
    if (run === undefined || !this.#mayReadOrigin(blob, ask, isUrgent, nowMs)) return undefined;
    if (this.#registries.ranges.of(ask.registry, nowMs) === false) return this.#wholeBlob(blob, ask, nowMs);
    const from = wanted === undefined ? run.from : (ask.piece ?? run.from);
    const to = Math.min(run.to, from + this.#runPieces(blob, ask, nowMs));
    return this.#grant(blob, ask, { from, to, source: 'origin' }, nowMs);
  }

  /** Of a registry that ignores ranges, for one at a time. */
  #wholeBlob(blob: BlobLeases, ask: LeaseAsk, nowMs: number): LeaseReply | undefined {
    if (!this.#mayReadOrigin(blob, ask, ask.starved, nowMs)) return undefined;
    return this.#grant(blob, ask, { from: 0, to: blob.pieceCount, source: 'origin' }, nowMs);
  }

  /** @param isUrgent a reader starves for the very piece: the registry is asked however busy it is */
  #mayReadOrigin(blob: BlobLeases, ask: LeaseAsk, isUrgent: boolean, nowMs: number): boolean {
    if (this.#registries.readers.all(ask.registry) >= this.#options.maxLeasesPerRegistry) return false;
    if (!isUrgent && this.#registries.isBusyFor(ask.agent, ask.registry, blob.pieceBytes)) return false;
    // Until the first answer has shown whether this registry honours ranges, a second reader might read everything.
    const ranges = this.#registries.ranges.of(ask.registry, nowMs);
    return blob.readers('origin') < (ranges === true ? this.#options.maxReadersPerBlob : 1);
  }

  #lackedByZone(blob: BlobLeases, ask: LeaseAsk, onlyWanted: boolean, nowMs: number): LeaseReply | undefined {
    const run = blob.lackedBy(ask.zone, ask.piece);
    if (run === undefined || (onlyWanted && run.from !== ask.piece)) return undefined;
    if (blob.readers('zone', ask.zone) >= this.#options.maxReadersPerBlob) return undefined;
    const to = Math.min(run.to, run.from + this.#runPieces(blob, ask, nowMs));
    const vain = blob.vainly(ask.zone, { from: run.from, to });
    if (vain !== undefined && (ask.starved || this.#elsewhere(blob, ask, run.from) === undefined)) {
      return this.#readAgain(blob, ask, vain, nowMs);
    }
    return this.#grant(blob, ask, { from: run.from, to, source: 'zone' }, nowMs);
  }

  /**
   * When nothing is left unread: halves what the slowest holder of this zone still has before it, so that the last pieces
   * are not left to one slow holder. The last piece of all is read twice at most. Where every reader is slow, because the
   * origin is, nobody counts as slow: to cut a response short wastes what is under way of it.
   */
  #tailOfSlowHolder(blob: BlobLeases, ask: LeaseAsk, nowMs: number): LeaseReply | undefined {
    let slowest: Lease | undefined;
    let slowestMs = 0;
    for (const lease of blob.leases) {
      if (lease.zone !== ask.zone || lease.agent === ask.agent) continue;
      if (lease.shared || lease.whole || lease.extra || lease.cutUnheard) continue;
      const restMs = remainingMs(lease, nowMs);
      if (restMs > Math.max(slowestMs, this.#registries.tolerableMs(lease))) [slowest, slowestMs] = [lease, restMs];
    }
    if (slowest === undefined) return undefined;
    const { to, source } = slowest;
    const readers = source === 'origin' ? blob.readers('origin') : blob.readers('zone', ask.zone);
    if (readers >= this.#options.maxReadersPerBlob || (source === 'origin' && !blob.unread.empty)) return undefined;
    // The holder hears of the cut with its next renewal and reads on until then.
    const reached = expectedNext(slowest, nowMs + CUT_HEARD_WITHIN_MS);
    const from = Math.min(to - 1, Math.max(reached + 1, reached + Math.ceil((to - reached) / 2)));
    const shared = from <= slowest.next;
    if (shared) slowest.shared = true;
    else [slowest.to, slowest.cutUnheard] = [from, true];
    return this.#grant(blob, ask, { from, to, source, shared }, nowMs);
  }

  #runPieces(blob: BlobLeases, { agent, others = false }: LeaseAsk, nowMs: number): number {
    return blob.runPieces(agent, others, nowMs);
  }

  #reads(agent: string, registry: string): boolean {
    for (const lease of this.#byAgent.get(agent) ?? []) if (lease.registry === registry) return true;
    return false;
  }

  /** Reads the piece whatever others have, unless it is on its way from the origin to a member that it can be had from. */
  #forStarved(blob: BlobLeases, ask: LeaseAsk, nowMs: number): LeaseReply | undefined {
    if (!ask.starved || nowMs < blob.lastExtraAtMs + this.#options.extraReaderEveryMs) return undefined;
    const from = Math.min(ask.piece ?? 0, blob.pieceCount - 1);
    if (blob.leases.some((lease) => canServe(lease, ask) && bringsSoon(lease, from, nowMs))) return undefined;
    const readers = blob.freshFrom(from, this.#registries.spreadsWithinMs(ask.registry, blob.pieceBytes), nowMs);
    if (readers.some((agent) => agent !== ask.agent && !this.#isLost(ask, agent))) return undefined;
    const ranged = this.#registries.ranges.of(ask.registry, nowMs) !== false;
    if (blob.readers('origin') > (ranged ? this.#options.maxReadersPerBlob : 1)) return undefined;
    blob.lastExtraAtMs = nowMs;
    if (!ranged) return this.#grant(blob, ask, { from: 0, to: blob.pieceCount, source: 'origin', extra: true }, nowMs);
    const to = Math.min(blob.pieceCount, from + blob.rescuePieces(ask.agent, MAX_STARVED_RUN_PIECES));
    return this.#grant(blob, ask, { from, to, source: 'origin', extra: true }, nowMs);
  }

  #grant(
    blob: BlobLeases,
    ask: LeaseAsk,
    {
      from,
      to,
      source,
      extra = false,
      shared = false,
    }: Run & { source: LeaseSource; extra?: boolean; shared?: boolean },
    nowMs: number,
  ): LeaseReply {
    const lease: Lease = {
      id: this.#newLeaseId(),
      blob,
      agent: ask.agent,
      zone: ask.zone,
      registry: ask.registry,
      source,
      from,
      to,
      next: from,
      nextAtMs: nowMs,
      bytes: 0,
      bytesBefore: 0,
      bytesAtMs: nowMs,
      whole: source === 'origin' && this.#registries.ranges.of(ask.registry, nowMs) === false,
      extra,
      shared,
      startedAtMs: nowMs,
      startedFrom: from,
      cutUnheard: false,
      expiresAtMs: nowMs + this.#options.leaseTtlMs,
    };
    const holders = source === 'zone' ? blob.agentsWith(from, to, ask.zone).slice(0, MAX_HOLDERS_TOLD) : [];
    blob.take(lease);
    blob.asks.granted(ask.agent, to - from);
    this.#hold(lease);
    this.#onChange(blob.id);
    return { granted: true, leaseId: lease.id, from, to, source, holders };
  }

  #refuse(blob: BlobLeases, ask: LeaseAsk, nowMs: number): LeaseReply {
    const holder = ask.piece === undefined ? undefined : blob.gotBy(ask.zone, ask.piece)?.agent;
    const reading = blob.leases.filter(({ zone }) => zone === ask.zone).map(({ agent }) => agent);
    const all = new Set(holder === undefined ? reading : [holder, ...reading]);
    all.delete(ask.agent);
    return refused(blob.asks.retryAfterMs(nowMs), [...all].slice(0, MAX_HOLDERS_TOLD));
  }

  /** The origin sends everything to whoever asks, so the one that reads from the start reads it all. */
  #makeWhole(lease: Lease): void {
    const { blob } = lease;
    if (lease.from > 0) return;
    lease.to = blob.pieceCount;
    lease.whole = true;
    blob.take(lease);
  }

  #hold(lease: Lease): void {
    this.#leases.set(lease.id, lease);
    const ofAgent = this.#byAgent.get(lease.agent);
    if (ofAgent === undefined) this.#byAgent.set(lease.agent, new Set([lease]));
    else ofAgent.add(lease);
    if (lease.source === 'origin') this.#registries.readers.add(lease.registry, lease.agent);
  }

  #drop(lease: Lease): void {
    this.#leases.delete(lease.id);
    lease.blob.giveBack(lease);
    const ofAgent = this.#byAgent.get(lease.agent);
    ofAgent?.delete(lease);
    if (ofAgent?.size === 0) this.#byAgent.delete(lease.agent);
    if (lease.source === 'origin') this.#registries.readers.remove(lease.registry, lease.agent);
    this.#onChange(lease.blob.id);
  }

  #noteGone(agent: string): void {
    this.#gone.delete(agent);
    this.#gone.add(agent);
    const [oldest] = this.#gone;
    if (this.#gone.size > MAX_GONE_AGENTS && oldest !== undefined) this.#gone.delete(oldest);
  }
}

/** The holder has told that it has the pieces before this one. */
function advance(lease: Lease, told: number, nowMs: number): void {
  const next = Math.min(told, lease.to);
  if (next <= lease.next) return;
  lease.blob.wasRead(lease, next, nowMs);
  lease.next = next;
  lease.nextAtMs = nowMs;
}
