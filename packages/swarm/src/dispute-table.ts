/**
 * Members that signed different hashes for one piece: one of them lied. Pure bookkeeping of who said what; checking the
 * signatures is the caller's. The first contradiction suspends the accused; then a witness, which the table chooses, reads
 * the piece. What the witness and somebody else say is the truth, and whoever signed anything else is out: liars that agree
 * with each other are no witnesses, and framing an honest member costs the framer.
 */
import type { BlobId } from '@shoal/oci';

const DEFAULT_SUSPEND_MS = 60_000;
/** A witness that does not answer is replaced after this. */
const WITNESS_MS = 5_000;
const MAX_DISPUTES = 4_096;
const MAX_STATEMENTS = 16;

export interface Contradiction {
  blob: BlobId;
  sizeBytes: number;
  index: number;
  /** Who had signed `claimed`. */
  accused: string;
  claimed: string;
  /** Who read the piece from the origin, and the hash it signed. */
  by: string;
  says: string;
}

interface Dispute {
  blob: BlobId;
  index: number;
  /** Member → the hash it signed. */
  statements: Map<string, string>;
  accused: Set<string>;
  witnesses: Set<string>;
  endsAtMs: number;
  witness: { agent: string; untilMs: number } | undefined;
}

/** A dispute as plain data. */
export interface SavedDispute extends Omit<Dispute, 'statements' | 'accused' | 'witnesses' | 'witness'> {
  statements: [member: string, hash: string][];
  accused: string[];
  witnesses: string[];
  witness?: Dispute['witness'];
}

export class DisputeTable {
  readonly #suspendMs: number;
  /** In the order they began, which is that of their end. */
  readonly #disputes = new Map<string, Dispute>();

  constructor(options: { suspendMs?: number } = {}) {
    this.#suspendMs = options.suspendMs ?? DEFAULT_SUSPEND_MS;
  }

  get size(): number {
    return this.#disputes.size;
  }

  save(): SavedDispute[] {
    return [...this.#disputes.values()].map(({ statements, accused, witnesses, ...dispute }) => ({
      ...dispute,
      statements: [...statements],
      accused: [...accused],
      witnesses: [...witnesses],
    }));
  }

  /** Goes on with what another table had saved, in its order. */
  restore(saved: readonly SavedDispute[]): void {
    for (const { statements, accused, witnesses, witness, ...dispute } of saved.slice(0, MAX_DISPUTES)) {
      this.#disputes.set(`${dispute.blob} ${dispute.index}`, {
        ...dispute,
        witness,
        statements: new Map(statements),
        accused: new Set(accused),
        witnesses: new Set(witnesses),
      });
    }
  }

  /**
   * @param otherMembers members besides the accused: where there is only one, its word is enough
   * @returns whom this bars for good
   */
  report(contradiction: Contradiction, otherMembers: number, nowMs: number): { barred: string[] } {
    this.expire(nowMs);
    const { blob, index, accused, claimed, by, says } = contradiction;
    if (accused === by || claimed === says) return { barred: [] };
    const key = `${blob} ${index}`;
    let dispute = this.#disputes.get(key);
    if (dispute === undefined) {
      if (this.#disputes.size >= MAX_DISPUTES) return { barred: [] };
      dispute = {
        blob,
        index,
        statements: new Map(),
        accused: new Set(),
        witnesses: new Set(),
        endsAtMs: nowMs + this.#suspendMs,
        witness: undefined,
      };
      this.#disputes.set(key, dispute);
    }
    dispute.accused.add(accused);
    this.#state(dispute, accused, claimed);
    return this.#hear(key, dispute, by, says, otherMembers);
  }

  /** A witness read the piece. Undefined when there is no dispute about it, or this member was not asked. */
  testify(
    { blob, index, by, says }: Pick<Contradiction, 'blob' | 'index' | 'by' | 'says'>,
    otherMembers: number,
    nowMs: number,
  ): { barred: string[] } | undefined {
    this.expire(nowMs);
    const key = `${blob} ${index}`;
    const dispute = this.#disputes.get(key);
    if (dispute === undefined || dispute.witness?.agent !== by) return undefined;
    dispute.witnesses.add(by);
    return this.#hear(key, dispute, by, says, otherMembers);
  }

  /** Members accused in a dispute that is not settled yet. */
  suspended(nowMs: number): string[] {
    this.expire(nowMs);
    return [...new Set([...this.#disputes.values()].flatMap(({ accused }) => [...accused]))];
  }

  /** The piece of `blob` that this member should read from the origin and sign. At most one member is asked at a time. */
  witnessFor(blob: BlobId, agent: string, nowMs: number): { index: number } | undefined {
    this.expire(nowMs);
    for (const dispute of this.#disputes.values()) {
      if (dispute.blob !== blob || dispute.statements.has(agent)) continue;
      if (dispute.witness !== undefined && dispute.witness.agent !== agent && nowMs < dispute.witness.untilMs) continue;
      dispute.witness = { agent, untilMs: nowMs + WITNESS_MS };
      return { index: dispute.index };
    }
    return undefined;
  }

  expire(nowMs: number): void {
    for (const [key, { endsAtMs }] of this.#disputes) {
      if (endsAtMs > nowMs) return;
      this.#disputes.delete(key);
    }
  }

  #hear(key: string, dispute: Dispute, by: string, says: string, otherMembers: number): { barred: string[] } {
    this.#state(dispute, by, says);
    const believed = otherMembers < 2 ? says : truthOf(dispute);
    if (believed === undefined) return { barred: [] };
    this.#disputes.delete(key);
    return { barred: [...dispute.statements].filter(([, hash]) => hash !== believed).map(([member]) => member) };
  }

  /** What a member said first counts. */
  #state(dispute: Dispute, member: string, hash: string): void {
    if (dispute.statements.has(member) || dispute.statements.size >= MAX_STATEMENTS) return;
    dispute.statements.set(member, hash);
  }
}

/** What a witness says and one other member at least. */
function truthOf({ statements, witnesses }: Dispute): string | undefined {
  for (const witness of witnesses) {
    const hash = statements.get(witness);
    const agreeing = [...statements.values()].filter((other) => other === hash).length;
    if (hash !== undefined && agreeing >= 2) return hash;
  }
  return undefined;
}
