/** What the lease table knows of registries: who reads them, how fast that goes, and how many may at once. */
import type { Lease } from './blob-leases.ts';
import { remainingPieces } from './lease-pace.ts';
import { RegistryLoad } from './registry-load.ts';
import { RegistryPace } from './registry-pace.ts';
import { RegistryRanges } from './registry-ranges.ts';
import { RegistryReaders } from './registry-readers.ts';

/** Of one agent on one registry: two for each of the layers that it reads together. */
const MAX_LEASES_OF_ONE = 16;
/** A holder that needs longer than this for the rest of its run shares it, and longer than this many times the usual. */
const SLOW_AFTER_MS = 2_000;
const SLOW_FACTOR = 2;
/** Whatever is usual: holders are believed what they tell of their pace. */
const MAX_TOLERABLE_MS = 15_000;
/** What was just read may yet spread, for so many times what it took to read: where the registry is slow, links may be. */
const SPREADS_FACTOR = 6;
const MIN_SPREADS_MS = 2_000;
const MAX_SPREADS_MS = 8_000;

export class Registries {
  readonly ranges: RegistryRanges = new RegistryRanges();
  readonly readers: RegistryReaders = new RegistryReaders();
  readonly #paces = new RegistryPace();
  readonly #loads = new RegistryLoad();

  /** Whether this agent should leave the registry to those that read it already, for pieces of this size. */
  isBusyFor(agent: string, registry: string, pieceBytes: number): boolean {
    return (
      this.readers.of(registry, agent) >= MAX_LEASES_OF_ONE ||
      this.readers.weighed(registry) >= this.#loads.most(registry, pieceBytes)
    );
  }

  /** The holder has told of so many bytes more, and needed so long for them. */
  noteRead(lease: Lease, told: number, tookMs: number, nowMs: number): void {
    // A member may say anything.
    const bytes = Math.min(told, (lease.to - lease.from) * lease.blob.pieceBytes);
    this.#paces.note(lease.registry, bytes, tookMs);
    // Who waits for its turn tells of what it reads under its other lease.
    if (lease.blob.before(lease) !== undefined) return;
    this.#loads.note(lease.registry, bytes, nowMs);
  }

  /** How long a holder may need for what is left of its run before it shares it. */
  tolerableMs(lease: Lease): number {
    if (lease.source === 'zone') return SLOW_AFTER_MS;
    const restBytes = remainingPieces(lease) * lease.blob.pieceBytes;
    const usualMs = this.#paces.usualMs(lease.registry, restBytes);
    return Math.max(SLOW_AFTER_MS, Math.min(MAX_TOLERABLE_MS, SLOW_FACTOR * usualMs));
  }

  /** A piece that was just read reaches everybody within this time, unless something is wrong. */
  spreadsWithinMs(registry: string, pieceBytes: number): number {
    const usualMs = SPREADS_FACTOR * this.#paces.usualMs(registry, pieceBytes);
    return Math.min(MAX_SPREADS_MS, Math.max(MIN_SPREADS_MS, usualMs));
  }
}
