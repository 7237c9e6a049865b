/** The members that trade one blob with us: what each holds, what it owes us, and how it has behaved. */
import type { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';

interface Peer {
  zone: string;
  pieces: PieceMap;
  inFlight: number;
  /** Not asked before this time: it was busy or slow. */
  restUntilMs: number;
  /** Failures in a row; each doubles the rest. */
  failures: number;
  /** Sent bytes that did not verify: never asked again for this blob. */
  barred: boolean;
}

const SLOW_REST_MS = 1_000;
const MAX_REST_MS = 30_000;

export class PeerTable {
  readonly #pieceCount: number;
  readonly #zone: string;
  readonly #slotsPerPeer: number;
  readonly #peers = new Map<string, Peer>();
  /** How many peers hold each piece. */
  readonly #copies: Uint16Array;

  constructor(options: { pieceCount: number; zone: string; slotsPerPeer: number }) {
    this.#pieceCount = options.pieceCount;
    this.#zone = options.zone;
    this.#slotsPerPeer = options.slotsPerPeer;
    this.#copies = new Uint16Array(options.pieceCount);
  }

  get size(): number {
    return this.#peers.size;
  }

  copies(index: number): number {
    return this.#copies[index] ?? 0;
  }

  setMap(peer: string, zone: string, pieces: PieceMap): void {
    const known = this.#peers.get(peer);
    if (known === undefined) {
      this.#peers.set(peer, { zone, pieces, inFlight: 0, restUntilMs: 0, failures: 0, barred: false });
      this.#count(pieces, 1);
    } else {
      if (!known.barred) this.#count(known.pieces, -1);
      known.pieces = pieces;
      if (!known.barred) this.#count(pieces, 1);
    }
  }

  add(peer: string, index: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined || !known.pieces.add(index) || known.barred) return;
    this.#copies[index] = (this.#copies[index] ?? 0) + 1;
  }

  remove(peer: string): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    if (!known.barred) this.#count(known.pieces, -1);
    this.#peers.delete(peer);
  }

  charge(peer: string): void {
    const known = this.#peers.get(peer);
    if (known !== undefined) known.inFlight++;
  }

  succeeded(peer: string): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    known.inFlight = Math.max(0, known.inFlight - 1);
    known.failures = 0;
  }

  cancelled(peer: string): void {
    const known = this.#peers.get(peer);
    if (known !== undefined) known.inFlight = Math.max(0, known.inFlight - 1);
  }

  rest(peer: string, nowMs: number, atLeastMs: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    known.inFlight = Math.max(0, known.inFlight - 1);
    known.restUntilMs = nowMs + atLeastMs;
  }

  slow(peer: string, nowMs: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    this.rest(peer, nowMs, Math.min(MAX_REST_MS, SLOW_REST_MS * 2 ** known.failures));
    known.failures++;
  }

  notHeld(peer: string, index: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    known.inFlight = Math.max(0, known.inFlight - 1);
    if (known.pieces.has(index) && !known.barred) this.#copies[index] = (this.#copies[index] ?? 1) - 1;
    known.pieces.remove(index);
  }

  bar(peer: string): void {
    const known = this.#peers.get(peer);
    if (known === undefined || known.barred) return;
    known.inFlight = Math.max(0, known.inFlight - 1);
    this.#count(known.pieces, -1);
    known.barred = true;
  }

  /** Whether some peer that is not resting holds the piece (its slots may all be taken). */
  offered(index: number, nowMs: number): boolean {
    if (this.copies(index) === 0) return false;
    for (const peer of this.#peers.values()) {
      if (!peer.barred && peer.restUntilMs <= nowMs && peer.pieces.has(index)) return true;
    }
    return false;
  }

  /** Whether any peer could take one more request now. */
  anySpare(nowMs: number): boolean {
    for (const peer of this.#peers.values()) if (this.#spare(peer, nowMs) > 0) return true;
    return false;
  }

  /**
   * Chooses who to ask for a piece: weighted random over spare slots, same zone before others.
   * `except` holds the peers that were asked already.
   */
  choose(index: number, nowMs: number, random: Random, except?: ReadonlySet<string>): string | undefined {
    for (const sameZone of [true, false]) {
      let total = 0;
      let chosen: string | undefined;
      for (const [id, peer] of this.#peers) {
        if ((peer.zone === this.#zone) !== sameZone || !peer.pieces.has(index) || except?.has(id) === true) continue;
        const spare = this.#spare(peer, nowMs);
        if (spare === 0) continue;
        total += spare;
        if (random() * total < spare) chosen = id;
      }
      if (chosen !== undefined) return chosen;
    }
    return undefined;
  }

  #spare(peer: Peer, nowMs: number): number {
    if (peer.barred || peer.restUntilMs > nowMs) return 0;
    return Math.max(0, this.#slotsPerPeer - peer.inFlight);
  }

  #count(pieces: PieceMap, by: 1 | -1): void {
    for (let index = 0; index < this.#pieceCount; index++) {
      if (pieces.has(index)) this.#copies[index] = (this.#copies[index] ?? 0) + by;
    }
  }
}
