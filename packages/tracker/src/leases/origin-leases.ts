/**
 * Decides who reads from an origin: nobody while a member holds the whole blob, else whom the lease table chooses. A
 * starved agent has tried the holders in vain, so it is only held to the table's bounds.
 */
import type { LeaseTable } from '@shoal/swarm';
import { pieceCountOf } from '@shoal/swarm';
import type { LeaseAnswer, LeaseRequest } from '@shoal/wire';
import type { Directory } from '../directory/directory.ts';
import type { Member } from '../members/membership.ts';

/** How soon an agent that was sent to holders of the whole blob may ask again. */
const RETRY_WITH_HOLDERS_MS = 1_000;

export interface OriginLeasesDependencies {
  table: LeaseTable;
  directory: Directory;
}

export class OriginLeases {
  readonly #sampleSize: number;
  readonly #table: LeaseTable;
  readonly #directory: Directory;

  constructor(options: { sampleSize: number }, dependencies: OriginLeasesDependencies) {
    this.#sampleSize = options.sampleSize;
    this.#table = dependencies.table;
    this.#directory = dependencies.directory;
  }

  ask(member: Member, request: LeaseRequest, nowMs: number): LeaseAnswer {
    const { digest, sizeBytes, registry, starved } = request;
    const holders = this.#directory.holders(digest, member, this.#sampleSize);
    if (holders.length > 0 && !starved && !this.#table.holds(digest, member.peerId, nowMs)) {
      return { granted: false, retryAfterMs: RETRY_WITH_HOLDERS_MS, peers: holders };
    }
    const reply = this.#table.request(
      { blob: digest, agent: member.peerId, registry, pieceCount: pieceCountOf(sizeBytes), starved },
      nowMs,
    );
    if (reply.granted) return { granted: true, leaseId: reply.leaseId, fromPiece: reply.from, toPiece: reply.to };
    const reader = reply.holder === undefined ? undefined : this.#directory.find(reply.holder, digest);
    const peers = holders.filter((peer) => peer.peerId !== reader?.peerId);
    if (reader !== undefined) peers.unshift(reader);
    return { granted: false, retryAfterMs: reply.retryAfterMs, peers };
  }
}
