/**
 * Members that contradict each other about a piece. Reports come in with the signatures that prove them; who is suspected is
 * suspended until a witness has read the piece; who lied is barred. Everybody is told whom to avoid meanwhile.
 *
 *   report ─► signatures checked ─► DisputeTable ─┬─► accused suspended: no lease, named to nobody
 *                └ 400                            ├─► a witness is chosen among those that ask for a lease of the blob
 *                                                 └─► barred: on disk, forgotten, told to everybody
 */
import type { BlobId } from '@shoal/oci';
import { type DisputeTable, pieceCountOf } from '@shoal/swarm';
import type { ReportAnswer, ReportRequest } from '@shoal/wire';
import type { Logger } from 'pino';
import { ApiError } from '../api/api-error.ts';
import type { TrackerMetrics } from '../api/metrics.ts';
import { RateBound } from '../api/rate-bound.ts';
import type { Member, Membership } from '../members/membership.ts';
import type { State } from '../state/state.ts';
import { checkStatement, type Piece, type Statement } from './evidence.ts';

/** Per member. One lie proven is enough, so an honest member needs few; each costs its accused a suspension. */
const REPORT_RATE = { perSecond: 0.2, burst: 8 };
const MAX_TOLD_BARRED = 64;
const MAX_TOLD_SUSPENDED = 64;
/** Suspensions end by themselves; they are looked at again this often. */
const LOOK_EVERY_MS = 250;

export interface DisputesDependencies {
  table: DisputeTable;
  membership: Membership;
  state: State;
  metrics: TrackerMetrics;
  logger: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Members that are there now, besides this one. */
  countOthers: (peerId: string) => number;
  /** A member is suspected from now on: what it said of other things is not to be believed. */
  onSuspected: (peerId: string) => void;
  /** A member was barred: whatever else is known of it is to be forgotten. */
  onBarred: (peerId: string) => void;
  /** The table is another than before. */
  onChange?: () => void;
}

export class Disputes {
  readonly #dependencies: DisputesDependencies;
  readonly #rate: RateBound;
  #suspended: ReadonlySet<string> = new Set();
  #avoided: string[];
  #lookedAtMs: number;
  /** Judgements whose bars are not on the shelf yet. */
  #unwritten = 0;

  constructor(dependencies: DisputesDependencies) {
    this.#dependencies = dependencies;
    this.#rate = new RateBound(REPORT_RATE, { clock: dependencies.clock });
    this.#avoided = dependencies.state.recentlyBarred(MAX_TOLD_BARRED);
    this.#lookedAtMs = dependencies.clock();
    // The table may have been restored.
    if (dependencies.table.size > 0) this.#look(true);
  }

  get suspendedCount(): number {
    this.#look();
    return this.#suspended.size;
  }

  /** Under suspicion now. Barred members do not get as far as asking. */
  isSuspended(peerId: string): boolean {
    this.#look();
    return this.#suspended.has(peerId);
  }

  /** PeerIds that everybody should avoid: suspended now, or barred lately. The same array while nothing changes. */
  avoided(): string[] {
    this.#look();
    return this.#avoided;
  }

  /** The piece of the blob that this member should read from the origin and report. */
  witnessFor(blob: BlobId, member: Member): { index: number } | undefined {
    const { table, clock } = this.#dependencies;
    if (table.size === 0) return undefined;
    const witness = table.witnessFor(blob, member.peerId, clock());
    if (witness !== undefined) this.#changed();
    return witness;
  }

  /** @throws ApiError BAD_REQUEST, TOO_MANY_REQUESTS */
  async report(member: Member, request: ReportRequest): Promise<ReportAnswer> {
    const { metrics, logger } = this.#dependencies;
    try {
      if (!this.#rate.take(member.peerId)) {
        throw new ApiError(429, 'TOO_MANY_REQUESTS', 'too many reports; wait a while');
      }
      const barred = await this.#judge(member, request);
      metrics.report('ok');
      return { barred };
    } catch (error) {
      metrics.report(error instanceof ApiError ? error.code : 'INTERNAL');
      if (error instanceof ApiError) logger.warn({ by: member.peerId, err: error }, 'a report was refused');
      throw error;
    }
  }

  /** Shuts a member out, now and, when it resolves, after a restart. @throws whatever `State.bar` does */
  async bar(peerId: string, reason: string, evidence: object = {}): Promise<void> {
    const { state, metrics, logger, onBarred } = this.#dependencies;
    const written = state.bar(peerId, reason);
    // It counts already, and that may take a while.
    onBarred(peerId);
    metrics.bar();
    logger.warn({ peerId, reason, ...evidence }, 'a member was barred');
    this.#look(true);
    await written;
  }

  async #judge(member: Member, request: ReportRequest): Promise<string[]> {
    const { membership, table, clock, countOthers, onSuspected, logger } = this.#dependencies;
    const piece: Piece = { blob: request.blob, sizeBytes: request.sizeBytes, index: request.index };
    if (piece.index >= pieceCountOf(piece.sizeBytes)) throw refused('the blob has no such piece');
    const counter = await checkStatement(request.counter, piece, membership);
    if (counter.by !== member.peerId) throw refused('the counter-attestation is not by the member that reports');
    const claim = request.claim === undefined ? undefined : await checkStatement(request.claim, piece, membership);
    if (claim?.by === member.peerId) throw refused('a member cannot report itself');
    if (claim?.says === counter.says) throw refused('the attestations do not contradict each other');

    const said = { blob: piece.blob, index: piece.index, ...counter };
    const verdict =
      claim === undefined
        ? table.testify(said, countOthers(member.peerId), clock())
        : table.report(
            { ...said, sizeBytes: piece.sizeBytes, accused: claim.by, claimed: claim.says },
            countOthers(claim.by),
            clock(),
          );
    if (verdict === undefined) throw refused('this member was not asked about that piece');
    logger.warn({ ...piece, counter, claim, barred: verdict.barred }, 'members contradict each other about a piece');
    this.#look(true);
    if (claim !== undefined && this.#suspended.has(claim.by)) onSuspected(claim.by);
    // A leader that finds the dispute settled must find the bars, too: they are written first, or it judges again.
    this.#unwritten++;
    try {
      await Promise.all(verdict.barred.map((peerId) => this.#barOnce(peerId, piece, counter, claim)));
    } finally {
      this.#unwritten--;
    }
    this.#changed();
    return verdict.barred;
  }

  #changed(): void {
    if (this.#unwritten === 0) this.#dependencies.onChange?.();
  }

  async #barOnce(peerId: string, piece: Piece, counter: Statement, claim: Statement | undefined): Promise<void> {
    if (this.#dependencies.state.isBarred(peerId)) return;
    const reason = `contradicted about piece ${piece.index} of ${piece.blob}`;
    await this.bar(peerId, reason, { ...piece, counter, claim });
  }

  #look(now = false): void {
    const { table, state, clock } = this.#dependencies;
    if (!now && (this.#suspended.size === 0 || clock() - this.#lookedAtMs < LOOK_EVERY_MS)) return;
    this.#lookedAtMs = clock();
    const suspended = table.suspended(this.#lookedAtMs).filter((peerId) => !state.isBarred(peerId));
    this.#suspended = new Set(suspended);
    this.#avoided = [...suspended.slice(0, MAX_TOLD_SUSPENDED), ...state.recentlyBarred(MAX_TOLD_BARRED)];
  }
}

function refused(message: string): ApiError {
  return new ApiError(400, 'BAD_REQUEST', message);
}
