/**
 * Who may read which blob from its origin. The tracker asks it for every lease; it does no I/O and is told the time.
 *
 * A lease covers a run of pieces. Today a run is the whole blob, so a blob has one holder, and further readers only when
 * somebody is starved although there is one. A lease lives `leaseTtlMs` from its grant or from its last progress: a
 * holder that stalls or dies loses it to whoever asks next. After a holder is done, the others are sent to it for one
 * more TTL, until its announcement of the complete blob has arrived.
 */
import type { Digest } from '@shoal/oci';

const DEFAULT_MAX_READERS_PER_BLOB = 2;
const DEFAULT_EXTRA_READER_EVERY_MS = 2_000;
const DEFAULT_MAX_LEASES_PER_REGISTRY = 64;
const DEFAULT_MAX_LEASES = 4_096;
/** How soon a refused agent may ask again, at least and at most. */
const MIN_RETRY_MS = 50;
const MAX_RETRY_MS = 1_000;
const MAX_FINISHED = 65_536;

export interface LeaseTableOptions {
  /** How long a lease lives without progress. */
  leaseTtlMs: number;
  /** Most agents that read one blob from its origin at once. @default 2 */
  maxReadersPerBlob?: number;
  /** A starved agent becomes a further reader of a blob only this long after the blob's last grant. @default 2000 */
  extraReaderEveryMs?: number;
  /** Most leases at once on one registry. @default 64 */
  maxLeasesPerRegistry?: number;
  /** Most leases at once. @default 4096 */
  maxLeases?: number;
}

export interface LeaseTableDependencies {
  /** A new, unguessable id at each call. */
  newLeaseId: () => string;
}

export interface LeaseAsk {
  blob: Digest;
  agent: string;
  registry: string;
  pieceCount: number;
  /** Nothing came from anybody for a while although somebody holds the lease or a copy. */
  starved: boolean;
}

/** `from` is the first piece of the run, `to` the first after it. `holder` has the blob or is reading it. */
export type LeaseReply =
  | { granted: true; leaseId: string; from: number; to: number }
  | { granted: false; retryAfterMs: number; holder: string | undefined };

interface Lease {
  id: string;
  blob: Digest;
  agent: string;
  registry: string;
  from: number;
  to: number;
  progress: number;
  expiresAtMs: number;
}

export class LeaseTable {
  readonly #options: Required<LeaseTableOptions>;
  readonly #newLeaseId: () => string;
  /** Every lease has the same TTL, and moves to the end when it is extended: the map is in order of expiry. */
  readonly #leases = new Map<string, Lease>();
  /** In the order they were granted; never an empty list. */
  readonly #byBlob = new Map<Digest, Lease[]>();
  /** When a blob last got a further reader, oldest first; forgotten when it may have the next. */
  readonly #grantedAtMs = new Map<Digest, number>();
  readonly #byAgent = new Map<string, Set<Lease>>();
  readonly #perRegistry = new Map<string, number>();
  /** In order of expiry, too. */
  readonly #finished = new Map<Digest, { agent: string; expiresAtMs: number }>();

  constructor(options: LeaseTableOptions, dependencies: LeaseTableDependencies) {
    this.#options = {
      maxReadersPerBlob: DEFAULT_MAX_READERS_PER_BLOB,
      extraReaderEveryMs: DEFAULT_EXTRA_READER_EVERY_MS,
      maxLeasesPerRegistry: DEFAULT_MAX_LEASES_PER_REGISTRY,
      maxLeases: DEFAULT_MAX_LEASES,
      ...options,
    };
    this.#newLeaseId = dependencies.newLeaseId;
  }

  /** Leases held now. */
  get size(): number {
    return this.#leases.size;
  }

  /** Whether this agent may read from this blob's origin now. */
  holds(blob: Digest, agent: string, nowMs: number): boolean {
    this.expire(nowMs);
    return this.#leaseOf(blob, agent) !== undefined;
  }

  request(ask: LeaseAsk, nowMs: number): LeaseReply {
    this.expire(nowMs);
    const own = this.#leaseOf(ask.blob, ask.agent);
    if (own !== undefined) return granted(own);

    const finished = this.#finished.get(ask.blob);
    if (finished !== undefined && finished.agent !== ask.agent && !ask.starved) {
      return refused(finished.expiresAtMs - nowMs, finished.agent);
    }
    const readers = this.#byBlob.get(ask.blob) ?? [];
    const holder = readers[0];
    if (holder !== undefined) {
      if (!ask.starved) return refused(holder.expiresAtMs - nowMs, holder.agent);
      if (readers.length >= this.#options.maxReadersPerBlob) return refused(MAX_RETRY_MS, holder.agent);
      const lastGrantAtMs = this.#grantedAtMs.get(ask.blob);
      if (lastGrantAtMs !== undefined) {
        return refused(lastGrantAtMs + this.#options.extraReaderEveryMs - nowMs, holder.agent);
      }
    }
    const onRegistry = this.#perRegistry.get(ask.registry) ?? 0;
    if (onRegistry >= this.#options.maxLeasesPerRegistry || this.#leases.size >= this.#options.maxLeases) {
      return refused(MAX_RETRY_MS, holder?.agent);
    }
    this.#grantedAtMs.set(ask.blob, nowMs);
    return granted(this.#grant(ask, nowMs));
  }

  /**
   * `progress`: a count that grows while the holder reads; only more than before extends the lease. Returns
   * false when the lease is not this agent's, or not any more.
   */
  renew(leaseId: string, agent: string, progress: number, nowMs: number): boolean {
    this.expire(nowMs);
    const lease = this.#leases.get(leaseId);
    if (lease === undefined || lease.agent !== agent) return false;
    if (progress > lease.progress) {
      lease.progress = progress;
      lease.expiresAtMs = nowMs + this.#options.leaseTtlMs;
      this.#leases.delete(leaseId);
      this.#leases.set(leaseId, lease);
    }
    return true;
  }

  /** `done`: the holder has the whole run. Somebody else's lease, or a lost one, is left alone. */
  release(leaseId: string, agent: string, done: boolean, nowMs: number): void {
    this.expire(nowMs);
    const lease = this.#leases.get(leaseId);
    if (lease === undefined || lease.agent !== agent) return;
    this.#drop(lease);
    this.#finished.delete(lease.blob);
    if (!done || this.#finished.size >= MAX_FINISHED) return;
    this.#finished.set(lease.blob, { agent, expiresAtMs: nowMs + this.#options.leaseTtlMs });
  }

  /** The agent left: what it was reading is free for the next one that asks. */
  forgetAgent(agent: string): void {
    for (const lease of [...(this.#byAgent.get(agent) ?? [])]) this.#drop(lease);
    for (const [blob, finished] of this.#finished) {
      if (finished.agent === agent) this.#finished.delete(blob);
    }
  }

  /** Drops what has run out. Every other call does it first; this is for a table that nobody asks. */
  expire(nowMs: number): void {
    for (const lease of this.#leases.values()) {
      if (lease.expiresAtMs > nowMs) break;
      this.#drop(lease);
    }
    for (const [blob, finished] of this.#finished) {
      if (finished.expiresAtMs > nowMs) break;
      this.#finished.delete(blob);
    }
    for (const [blob, atMs] of this.#grantedAtMs) {
      if (atMs + this.#options.extraReaderEveryMs > nowMs) break;
      this.#grantedAtMs.delete(blob);
    }
  }

  #leaseOf(blob: Digest, agent: string): Lease | undefined {
    return this.#byBlob.get(blob)?.find((lease) => lease.agent === agent);
  }

  #grant(ask: LeaseAsk, nowMs: number): Lease {
    const lease: Lease = {
      id: this.#newLeaseId(),
      blob: ask.blob,
      agent: ask.agent,
      registry: ask.registry,
      from: 0,
      to: ask.pieceCount,
      progress: 0,
      expiresAtMs: nowMs + this.#options.leaseTtlMs,
    };
    this.#leases.set(lease.id, lease);
    const readers = this.#byBlob.get(ask.blob);
    if (readers === undefined) this.#byBlob.set(ask.blob, [lease]);
    else readers.push(lease);
    const ofAgent = this.#byAgent.get(ask.agent);
    if (ofAgent === undefined) this.#byAgent.set(ask.agent, new Set([lease]));
    else ofAgent.add(lease);
    this.#perRegistry.set(ask.registry, (this.#perRegistry.get(ask.registry) ?? 0) + 1);
    return lease;
  }

  #drop(lease: Lease): void {
    this.#leases.delete(lease.id);
    const remaining = (this.#byBlob.get(lease.blob) ?? []).filter((other) => other !== lease);
    if (remaining.length === 0) this.#byBlob.delete(lease.blob);
    else this.#byBlob.set(lease.blob, remaining);
    const ofAgent = this.#byAgent.get(lease.agent);
    ofAgent?.delete(lease);
    if (ofAgent?.size === 0) this.#byAgent.delete(lease.agent);
    const onRegistry = (this.#perRegistry.get(lease.registry) ?? 1) - 1;
    if (onRegistry === 0) this.#perRegistry.delete(lease.registry);
    else this.#perRegistry.set(lease.registry, onRegistry);
  }
}

function granted(lease: Lease): LeaseReply {
  return { granted: true, leaseId: lease.id, from: lease.from, to: lease.to };
}

function refused(waitMs: number, holder: string | undefined): LeaseReply {
  return { granted: false, retryAfterMs: Math.max(MIN_RETRY_MS, Math.min(MAX_RETRY_MS, Math.ceil(waitMs))), holder };
}
