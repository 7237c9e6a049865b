/**
 * What the other side of one connection wants to know of this agent's holdings, and what it was told so far. A want is
 * answered with a MAP when anything is held; after that only changes are sent. Changes that happen while the holdings
 * are being looked up are folded into that answer, so nothing falls between.
 */
import type { BlobId } from '@shoal/oci';
import { PieceMap, pieceCountOf } from '@shoal/swarm';
import type { ControlFrame } from '@shoal/wire';
import type { Logger } from 'pino';
import type { FreshPieces } from './fresh-pieces.ts';
import type { Holdings } from './peer-network.ts';

/** Most blobs that one connection may want at once. */
export const MAX_WANTS_PER_CONNECTION = 2048;

interface Subscription {
  /** A MAP was sent and not withdrawn since: single pieces make sense to the other side. */
  told: boolean;
  /** A lookup is queued or under way. */
  answering: boolean;
  /** Published while `answering`. */
  readonly fresh: Set<number>;
  freshSizeBytes: number;
}

export class Subscriptions {
  readonly #byBlob = new Map<BlobId, Subscription>();
  readonly #toAnswer = new Set<BlobId>();
  readonly #holdings: Holdings;
  readonly #send: (frame: ControlFrame) => void;
  readonly #logger: Logger;
  #running = false;

  constructor(dependencies: { holdings: Holdings; send: (frame: ControlFrame) => void; logger: Logger }) {
    this.#holdings = dependencies.holdings;
    this.#send = dependencies.send;
    this.#logger = dependencies.logger;
  }

  /** Wanting again asks for the MAP again. */
  want(blob: BlobId): 'new' | 'again' | 'too-many' {
    const known = this.#byBlob.has(blob);
    if (!known) {
      if (this.#byBlob.size >= MAX_WANTS_PER_CONNECTION) return 'too-many';
      const nothing = { told: false, answering: false, fresh: new Set<number>(), freshSizeBytes: 0 };
      this.#byBlob.set(blob, nothing);
    }
    this.#answerSoon(blob);
    return known ? 'again' : 'new';
  }

  /** Returns whether it was wanted. */
  unwant(blob: BlobId): boolean {
    this.#toAnswer.delete(blob);
    return this.#byBlob.delete(blob);
  }

  has(blob: BlobId): boolean {
    return this.#byBlob.has(blob);
  }

  /** All that the other side wants. */
  blobs(): IterableIterator<BlobId> {
    return this.#byBlob.keys();
  }

  publish({ blob, sizeBytes, indexes }: FreshPieces): void {
    const subscription = this.#byBlob.get(blob);
    if (subscription === undefined) return;
    if (subscription.told && !subscription.answering) {
      this.#send({ type: 'have', blob, indexes });
      return;
    }
    for (const index of indexes) subscription.fresh.add(index);
    subscription.freshSizeBytes = sizeBytes;
    this.#answerSoon(blob);
  }

  withdraw(blob: BlobId): void {
    const subscription = this.#byBlob.get(blob);
    if (subscription === undefined) return;
    subscription.fresh.clear();
    if (subscription.told) this.#send({ type: 'withdraw', blob });
    subscription.told = false;
    // A lookup under way may still see what is gone now: ask once more.
    if (subscription.answering) {
      subscription.answering = false;
      this.#answerSoon(blob);
    }
  }

  clear(): void {
    this.#byBlob.clear();
    this.#toAnswer.clear();
  }

  #answerSoon(blob: BlobId): void {
    const subscription = this.#byBlob.get(blob);
    if (subscription === undefined || subscription.answering) return;
    subscription.answering = true;
    this.#toAnswer.add(blob);
    if (this.#running) return;
    this.#running = true;
    this.#answerAll().catch((error: unknown) => this.#logger.error({ err: error }, 'wants not answered'));
  }

  async #answerAll(): Promise<void> {
    try {
      // Entries added meanwhile are visited too.
      for (const blob of this.#toAnswer) {
        this.#toAnswer.delete(blob);
        const subscription = this.#byBlob.get(blob);
        if (subscription !== undefined) await this.#answer(blob, subscription);
      }
    } finally {
      this.#running = false;
    }
  }

  async #answer(blob: BlobId, subscription: Subscription): Promise<void> {
    const held = await this.#holdings.held(blob).catch((error: unknown) => {
      this.#logger.warn({ err: error, blob }, 'holdings could not be read');
      return undefined;
    });
    // Unwanted, or withdrawn and queued again, since.
    if (this.#byBlob.get(blob) !== subscription || this.#toAnswer.has(blob)) return;
    subscription.answering = false;
    const sizeBytes = held?.sizeBytes ?? subscription.freshSizeBytes;
    const pieces = held?.pieces.clone() ?? PieceMap.empty(pieceCountOf(sizeBytes));
    for (const index of subscription.fresh) pieces.add(index);
    subscription.fresh.clear();
    if (pieces.held === 0) return;
    subscription.told = true;
    this.#send({ type: 'map', blob, sizeBytes, bitmap: pieces.toBytes() });
  }
}
