/**
 * What a node does when its blob is complete and wrong, and what others do as witnesses. Follows `blob-audit.ts`,
 * `witness-duty.ts` and `barred-members.ts` of the agent.
 */
import { Audit } from '@shoal/swarm';
import type { Links } from './links.ts';
import { copyOf, isWrong, type SimNode, signerOfCopy } from './node.ts';
import type { Origin, OriginListener, OriginResponse } from './origin.ts';
import { STALL_MS } from './reading.ts';
import type { Setting, WorldEars } from './setting.ts';
import type { Tracker } from './tracker.ts';

// As in the agent.
export const AUDIT_BUDGET_MS = 5 * 60_000;
const IDLE_MS = 30_000;
const ASK_AGAIN_MS = 500;
const STAY_AUDITOR_EVERY_MS = 3_000;
const MAX_START_DELAY_MS = 2_000;
const READS_AT_ONCE = 4;
const RETRY_FOR_MS = 5_000;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 1_600;
const HAND_OVER_MS = 12_000;
const TESTIFY_WITHIN_MS = 5_000;
const MAX_DUTIES = 2;

export interface AuditEars extends WorldEars {
  /** The node has done what it can and fails. */
  failed(node: SimNode, why: string): void;
}

export class Auditing {
  readonly #setting: Setting;
  readonly #ears: AuditEars;
  readonly #origin: Origin;
  readonly #tracker: Tracker;
  readonly #links: Links;

  constructor(setting: Setting, ears: AuditEars, origin: Origin, tracker: Tracker, links: Links) {
    this.#setting = setting;
    this.#ears = ears;
    this.#origin = origin;
    this.#tracker = tracker;
    this.#links = links;
  }

  /** Every piece is here, and the whole does not match. */
  begin(node: SimNode): void {
    node.state = 'auditing';
    this.#setting.tally.audits++;
    const audit = ++node.audits;
    const isCurrent = (): boolean => node.audits === audit && node.state === 'auditing';
    const lost = node.signedBy(node.barred);
    if (lost.length > 0) {
      // Not within the event that completed the blob.
      this.#setting.laterFor(node, 0, () => {
        if (isCurrent()) this.#lose(node, node.signedBy(node.barred));
      });
      return;
    }
    const startedMs = this.#setting.nowMs;
    const endsMs = startedMs + node.auditLeftMs;
    node.auditMovedMs = startedMs;
    node.endAudit = () => {
      node.auditLeftMs -= this.#setting.nowMs - startedMs;
    };
    const look = (): void => {
      if (!isCurrent()) return;
      const leftMs = Math.min(endsMs, node.auditMovedMs + IDLE_MS) - this.#setting.nowMs;
      if (leftMs > 0) this.#setting.laterFor(node, leftMs, look);
      else this.#ears.failed(node, 'mismatch: the audit took too long');
    };
    look();
    this.#becomeAuditor(node, isCurrent);
  }

  /** The tracker named others to be avoided. */
  heard(node: SimNode, avoided: ReadonlySet<number>): void {
    if (node.avoided === avoided) return;
    let isNew = false;
    for (const index of avoided) if (!node.avoided.has(index)) isNew = true;
    node.avoided = avoided;
    if (isNew) this.#refresh(node);
  }

  testify(node: SimNode, index: number): void {
    if (node.duties.size >= MAX_DUTIES || node.duties.has(index)) return;
    node.duties.add(index);
    let response: OriginResponse | undefined;
    const done = (): void => {
      node.duties.delete(index);
      if (response !== undefined) this.#origin.close(response);
    };
    this.#setting.laterFor(node, TESTIFY_WITHIN_MS, done);
    response = this.#open(node, index, index + 1, {
      headers: () => {},
      piece: (read) => {
        if (read !== index) return;
        done();
        this.#setting.tally.auditReads++;
        const says = node.role.liar
          ? this.#versionOf(copyOf(node.index, true))
          : this.#versionOf(copyOf(node.index, false));
        this.#tracker.report(node, index, says, undefined);
      },
      failed: done,
    });
  }

  #becomeAuditor(node: SimNode, isCurrent: () => boolean): void {
    this.#tracker.audit(node, (answer) => {
      if (answer?.witness !== undefined) this.testify(node, answer.witness.index);
      if (!isCurrent()) return;
      if (answer?.granted === true) {
        this.#audit(node, isCurrent, true);
        return;
      }
      const alone = answer === undefined;
      if (!alone) node.auditMovedMs = this.#setting.nowMs;
      this.#setting.laterFor(node, alone ? node.random() * MAX_START_DELAY_MS : ASK_AGAIN_MS, () => {
        if (!isCurrent()) return;
        if (alone) this.#audit(node, isCurrent, false);
        else this.#becomeAuditor(node, isCurrent);
      });
    });
  }

  #audit(node: SimNode, isCurrent: () => boolean, isOnlyOne: boolean): void {
    const signers = Array.from(node.copies, (copy) => {
      const signer = signerOfCopy(copy);
      return signer === node.index ? undefined : this.#setting.nodes[signer]?.id;
    });
    const audit = new Audit(signers, node.random);
    const open = new Set<OriginResponse>();
    let readers = READS_AT_ONCE;
    let isOver = false;
    let isWhole = false;
    const end = (): void => {
      isOver = true;
      for (const response of open) this.#origin.close(response);
    };
    const goesOn = (): boolean => !isOver && isCurrent();
    this.#stayAuditor(node, goesOn);
    // Somebody else may be able to read the origin.
    const handOver = (): void => {
      if (!goesOn()) return;
      end();
      this.#setting.laterFor(node, isOnlyOne ? HAND_OVER_MS : MAX_PAUSE_MS, () => {
        if (isCurrent()) this.#becomeAuditor(node, isCurrent);
      });
    };
    const compare = (index: number): boolean => {
      this.#setting.tally.auditReads++;
      node.auditMovedMs = this.#setting.nowMs;
      if (!isWrong(node.copies[index] as number)) return true;
      end();
      this.#judge(node, index);
      return false;
    };
    const readOn = (): void => {
      if (isWhole || !goesOn()) return;
      const index = audit.next();
      if (index !== undefined) {
        read(index, 0, this.#setting.nowMs + RETRY_FOR_MS);
        return;
      }
      if (--readers === 0) this.#ears.failed(node, 'mismatch: the origin agrees with everything');
    };
    const read = (index: number, tries: number, untilMs: number): void => {
      if (isWhole || !goesOn()) return;
      const response = this.#open(node, index, index + 1, {
        headers: (ranged) => {
          if (ranged || index === 0 || isWhole || !goesOn()) return;
          for (const other of open) this.#origin.close(other);
          isWhole = true;
          this.#auditWhole(node, goesOn, handOver);
        },
        piece: (read) => {
          open.delete(response);
          this.#origin.close(response);
          if (!isWhole && goesOn() && compare(read)) readOn();
        },
        failed: (how) => {
          open.delete(response);
          if (isWhole || !goesOn()) return;
          if (this.#setting.nowMs >= untilMs || how === 'refused') {
            handOver();
            return;
          }
          const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
          this.#setting.laterFor(node, pauseMs, () => read(index, tries + 1, untilMs));
        },
      });
      open.add(response);
    };
    for (let started = 0; started < READS_AT_ONCE; started++) readOn();
  }

  /** The origin ignores ranges: every piece in order, in one response. */
  #auditWhole(node: SimNode, isCurrent: () => boolean, failed: () => void): void {
    const response = this.#open(node, 0, this.#setting.pieceCount, {
      headers: () => {},
      piece: (index, last) => {
        if (!isCurrent()) {
          this.#origin.close(response);
          return;
        }
        this.#setting.tally.auditReads++;
        node.auditMovedMs = this.#setting.nowMs;
        if (isWrong(node.copies[index] as number)) {
          this.#origin.close(response);
          this.#judge(node, index);
        } else if (last) {
          this.#ears.failed(node, 'mismatch: the origin agrees with everything');
        }
      },
      failed,
    });
  }

  /** A response that falls silent has failed. */
  #open(node: SimNode, from: number, to: number, listener: OriginListener): OriginResponse {
    const response = this.#origin.open(node, from, to, listener);
    let progress = 0;
    const look = (): void => {
      if (response.closed) return;
      const nowAt = response.next + this.#origin.carried(response) / this.#setting.bytesOf(0);
      if (nowAt === progress && node.downTakenUntilMs <= this.#setting.nowMs) {
        this.#origin.close(response);
        listener.failed('failed', undefined);
        return;
      }
      progress = nowAt;
      this.#setting.laterFor(node, STALL_MS, look);
    };
    this.#setting.laterFor(node, STALL_MS, look);
    return response;
  }

  #stayAuditor(node: SimNode, isCurrent: () => boolean): void {
    this.#setting.laterFor(node, STAY_AUDITOR_EVERY_MS, () => {
      if (!isCurrent()) return;
      this.#tracker.audit(node, () => {});
      this.#stayAuditor(node, isCurrent);
    });
  }

  /** The origin says something else than the signer of this piece did. */
  #judge(node: SimNode, index: number): void {
    const copy = node.copies[index] as number;
    const signer = signerOfCopy(copy);
    const accused = this.#setting.nodes[signer] as SimNode;
    this.#tracker.report(node, index, this.#versionOf(copyOf(node.index, false)), {
      accused,
      claimed: this.#versionOf(copy),
    });
    if (!accused.role.liar) this.#setting.violation(`${node.id} convicts ${accused.id}, which is honest`);
    this.#lose(node, node.signedBy(new Set([signer])));
    node.convicted.add(signer);
    this.#refresh(node);
    this.#ears.keep(node, index, copyOf(node.index, false), undefined);
  }

  #refresh(node: SimNode): void {
    node.barred = new Set([...node.convicted, ...node.avoided]);
    this.#links.bar(node, node.barred);
    if (!node.active) return;
    const lost = node.signedBy(node.barred);
    if (lost.length > 0) this.#lose(node, lost);
  }

  #lose(node: SimNode, indexes: readonly number[]): void {
    if (node.state === 'auditing') node.endAudit?.();
    node.audits++;
    node.state = 'pulling';
    for (const index of indexes) {
      node.copies[index] = 0;
      node.held--;
    }
    this.#setting.tally.piecesLost += indexes.length;
    this.#ears.tell(node, { type: 'pieces-lost', indexes });
    node.readAt = node.firstMissing();
    if (node.readAt < this.#setting.pieceCount)
      this.#ears.tell(node, { type: 'reader', reader: 1, index: node.readAt });
  }

  #versionOf(copy: number): string {
    if (!isWrong(copy)) return 'right';
    return this.#setting.plan.liars.together ? 'wrong' : `wrong by ${signerOfCopy(copy)}`;
  }
}
