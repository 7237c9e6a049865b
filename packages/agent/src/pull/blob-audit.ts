/**
 * What to do about a complete blob that does not match its digest: find out which of its pieces are wrong.
 *
 *   the disk changed pieces ────────► those
 *   a signer was barred meanwhile ──► what it signed
 *   every piece was read here ──────► nobody lied: the origin itself is wrong
 *   otherwise ──► one agent per blob audits, as the tracker says; the others wait until a member is barred for it.
 *                 The auditor reads pieces from the origin again:
 *                   one differs ──► its signer lied; the tracker gets both signatures
 *                   all agree ────► the origin itself is wrong
 *
 * An auditor that cannot read the origin makes room for another one. Without a tracker every agent audits by itself. All
 * audits of one pull together take a bounded time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Audit, pieceCountOf, type Random } from '@shoal/swarm';
import type { Logger } from 'pino';
import { type OriginClient, OriginError } from '../origin/origin-client.ts';
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { PartialBlob } from '../store/blob-store.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { SizedBlob } from './blob-size.ts';
import { NoRange, type OriginPiece, readOriginPiece, readOriginRun } from './origin-run.ts';
import type { KeptPiece, PieceKeeper } from './piece-keeper.ts';
import type { PullSource } from './pulls.ts';

const BUDGET_MS = 30_000;
const ASK_AGAIN_MS = 500;
/** An auditor that does not ask again for 10 s is replaced. */
const STAY_AUDITOR_EVERY_MS = 3_000;
/** Without a tracker agents begin at different times: the first one's neighbours may have been told by then. */
const MAX_START_DELAY_MS = 2_000;
const READS_AT_ONCE = 4;
/** An origin that fails is asked again for so long, with pauses of these lengths. */
const RETRY_FOR_MS = 5_000;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 1_600;
/** Then it is another agent's turn: until this one is no longer the auditor, and somebody else was. */
const HAND_OVER_MS = 12_000;

export interface BlobAuditDependencies {
  partial: PartialBlob;
  keeper: PieceKeeper;
  origin: OriginClient;
  /** The repository that would be asked now. */
  source: () => PullSource;
  network: Pick<PeerNetwork, 'attest'>;
  tracker: Pick<TrackerClient, 'report'>;
  /** Asks to be the auditor; undefined when no tracker answers. */
  askAudit: () => Promise<boolean | undefined>;
  endAudit: () => void;
  barred: () => ReadonlySet<string>;
  logger: Logger;
  clock: () => number;
  random: Random;
}

/** `lost`: pieces to be dropped. `difference`: the origin's version of one of them is here already. */
export type AuditResult =
  | { found: 'damage' | 'barred'; lost: number[] }
  | { found: 'difference'; lost: number[]; signer: string | undefined; piece: KeptPiece }
  | { found: 'nothing' | 'no-time' };

export class BlobAudit {
  readonly #target: SizedBlob;
  readonly #dependencies: BlobAuditDependencies;
  #leftMs = BUDGET_MS;

  constructor(target: SizedBlob, dependencies: BlobAuditDependencies) {
    this.#target = target;
    this.#dependencies = dependencies;
  }

  /** @throws StoreError; the reason of `stop` */
  async run(stop: AbortSignal): Promise<AuditResult> {
    const { partial, keeper, barred, clock } = this.#dependencies;
    const damaged = await partial.damaged();
    stop.throwIfAborted();
    if (damaged.length > 0) return { found: 'damage', lost: damaged };
    const lost = keeper.signedBy(barred());
    if (lost.length > 0) return { found: 'barred', lost };
    const signers = keeper.signers();
    if (signers.every((signer) => signer === undefined)) return { found: 'nothing' };
    const startedAtMs = clock();
    const budget = AbortSignal.timeout(Math.max(0, this.#leftMs));
    const signal = AbortSignal.any([stop, budget]);
    try {
      for (;;) {
        const isOnlyOne = await this.#becomeAuditor(signal);
        const result = await this.#audit(signers, signal);
        if (result !== undefined) return result;
        await sleep(isOnlyOne ? HAND_OVER_MS : MAX_PAUSE_MS, undefined, { signal });
      }
    } catch (error) {
      stop.throwIfAborted();
      if (budget.aborted) return { found: 'no-time' };
      throw error;
    } finally {
      this.#leftMs -= clock() - startedAtMs;
    }
  }

  /** Resolves with whether nobody else audits meanwhile, which is so while a tracker answers. */
  async #becomeAuditor(signal: AbortSignal): Promise<boolean> {
    const { askAudit, random } = this.#dependencies;
    for (;;) {
      const granted = await askAudit();
      signal.throwIfAborted();
      if (granted === true) return true;
      await sleep(granted === false ? ASK_AGAIN_MS : random() * MAX_START_DELAY_MS, undefined, { signal });
      if (granted === undefined) return false;
    }
  }

  /** Undefined when the origin could not be read. */
  async #audit(signers: readonly (string | undefined)[], signal: AbortSignal): Promise<AuditResult | undefined> {
    const { askAudit, endAudit, logger } = this.#dependencies;
    let asked: Promise<unknown> = Promise.resolve();
    const stay = (): void => {
      asked = askAudit();
    };
    const staying = setInterval(stay, STAY_AUDITOR_EVERY_MS);
    try {
      const different = await this.#findDifference(signers, signal);
      if (different !== undefined) return this.#judge(different, signers);
      // After the last question, or that would make this agent the auditor again.
      void asked.finally(endAudit);
      return { found: 'nothing' };
    } catch (error) {
      if (signal.aborted || !(error instanceof OriginError)) throw error;
      logger.warn({ code: error.code }, `audit: ${error.message}`);
      return undefined;
    } finally {
      clearInterval(staying);
    }
  }

  /** Several pieces at a time; the first one that differs ends it. @throws OriginError */
  async #findDifference(
    signers: readonly (string | undefined)[],
    signal: AbortSignal,
  ): Promise<OriginPiece | undefined> {
    const audit = new Audit(signers, this.#dependencies.random);
    const enough = new AbortController();
    const either = AbortSignal.any([signal, enough.signal]);
    const different: OriginPiece[] = [];
    const readOn = async (): Promise<void> => {
      try {
        for (;;) {
          const index = either.aborted ? undefined : audit.next();
          if (index === undefined) return;
          const piece = await this.#read(index, either);
          if (this.#agrees(piece)) continue;
          different.push(piece);
          enough.abort();
          return;
        }
      } catch (error) {
        enough.abort();
        throw error;
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: READS_AT_ONCE }, readOn));
    if (different.length > 0) return different[0];
    signal.throwIfAborted();
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
    if (failures.some((error) => error instanceof NoRange)) return this.#findDifferenceInWhole(signal);
    if (failures.length > 0) throw failures.find(saysWhy) ?? failures[0];
    return undefined;
  }

  /** The origin ignores ranges: every piece in order, over one connection. */
  async #findDifferenceInWhole(signal: AbortSignal): Promise<OriginPiece | undefined> {
    const { origin, source } = this.#dependencies;
    const run = { ...this.#target, from: 0, to: pieceCountOf(this.#target.sizeBytes), whole: true };
    const events = { onBytes: () => undefined, onRanges: () => Promise.resolve() };
    for await (const piece of readOriginRun(origin, source(), run, signal, events)) {
      if (!this.#agrees(piece)) return piece;
    }
    return undefined;
  }

  async #read(index: number, signal: AbortSignal): Promise<OriginPiece> {
    const { origin, source, clock } = this.#dependencies;
    const untilMs = clock() + RETRY_FOR_MS;
    for (let tries = 0; ; tries++) {
      try {
        return await readOriginPiece(origin, source(), { ...this.#target, index }, { whole: false }, signal);
      } catch (error) {
        if (signal.aborted || clock() >= untilMs || !(error instanceof OriginError && error.temporary)) throw error;
        await sleep(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries), undefined, { signal });
      }
    }
  }

  #agrees({ index, sha256 }: OriginPiece): boolean {
    const kept = this.#dependencies.partial.pieceHash(index);
    return kept !== undefined && Buffer.compare(kept, sha256) === 0;
  }

  #judge({ index, bytes, sha256 }: OriginPiece, signers: readonly (string | undefined)[]): AuditResult {
    const { network, tracker, partial, keeper, logger } = this.#dependencies;
    const attestation = network.attest({ ...this.#target, index }, sha256);
    const piece = { index, bytes, sha256, attestation };
    const signer = signers[index];
    // What this agent read itself came wrong the first time.
    if (signer === undefined) return { found: 'difference', lost: [index], signer, piece };
    logger.warn({ signer, index }, 'a member signed bytes that are not what the origin has');
    const claim = partial.attestation(index);
    // Nobody here waits for the tracker; it answers within its deadline.
    if (attestation.length > 0) void tracker.report({ ...this.#target, index, claim, counter: attestation });
    return { found: 'difference', lost: keeper.signedBy(new Set([signer])), signer, piece };
  }
}

/** As opposed to a read that was cancelled because another one failed. */
function saysWhy(error: unknown): boolean {
  return error instanceof OriginError && error.code !== 'cancelled';
}
