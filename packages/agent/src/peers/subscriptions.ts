/**
 * What the other side of one connection wants to know of this agent's holdings, and what it was told so far. A want is
 * answered with a MAP when anything is held; after that only changes are sent. Changes that happen while the holdings
 * are being looked up are folded into that answer, so nothing falls between.
 */
import type { Digest } from '@shoal/oci';
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
  readonly #byDigest = new Map<Digest, Subscription>();
  readonly #toAnswer = new Set<Digest>();
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
  want(digest: Digest): 'new' | 'again' | 'too-many' {
    const known = this.#byDigest.has(digest);
    if (!known) {
      if (this.#byDigest.size >= MAX_WANTS_PER_CONNECTION) return 'too-many';
      const nothing = { told: false, answering: false, fresh: new Set<number>(), freshSizeBytes: 0 };
      this.#byDigest.set(digest, nothing);
    }
    this.#answerSoon(digest);
    return known ? 'again' : 'new';
  }

  /** Returns whether it was wanted. */
  unwant(digest: Digest): boolean {
    this.#toAnswer.delete(digest);
    return this.#byDigest.delete(digest);
  }

  has(digest: Digest): boolean {
    return this.#byDigest.has(digest);
  }

  /** All that the other side wants. */
  digests(): IterableIterator<Digest> {
    return this.#byDigest.keys();
  }

  publish({ digest, sizeBytes, indexes }: FreshPieces): void {
    const subscription = this.#byDigest.get(digest);
    if (subscription === undefined) return;
    if (subscription.told && !subscription.answering) {
      this.#send({ type: 'have', digest, indexes });
      return;
    }
    for (const index of indexes) subscription.fresh.add(index);
    subscription.freshSizeBytes = sizeBytes;
    this.#answerSoon(digest);
  }

  withdraw(digest: Digest): void {
    const subscription = this.#byDigest.get(digest);
    if (subscription === undefined) return;
    subscription.fresh.clear();
    if (subscription.told) this.#send({ type: 'withdraw', digest });
    subscription.told = false;
    // A lookup under way may still see what is gone now: ask once more.
    if (subscription.answering) {
      subscription.answering = false;
      this.#answerSoon(digest);
    }
  }

  clear(): void {
    this.#byDigest.clear();
    this.#toAnswer.clear();
  }

  #answerSoon(digest: Digest): void {
    const subscription = this.#byDigest.get(digest);
    if (subscription === undefined || subscription.answering) return;
    subscription.answering = true;
    this.#toAnswer.add(digest);
    if (this.#running) return;
    this.#running = true;
    this.#answerAll().catch((error: unknown) => this.#logger.error({ err: error }, 'wants not answered'));
  }

  async #answerAll(): Promise<void> {
    try {
      // Entries added meanwhile are visited too.
      for (const digest of this.#toAnswer) {
        this.#toAnswer.delete(digest);
        const subscription = this.#byDigest.get(digest);
        if (subscription !== undefined) await this.#answer(digest, subscription);
      }
    } finally {
      this.#running = false;
    }
  }

  async #answer(digest: Digest, subscription: Subscription): Promise<void> {
    const held = await this.#holdings.held(digest).catch((error: unknown) => {
      this.#logger.warn({ err: error, digest }, 'holdings could not be read');
      return undefined;
    });
    // Unwanted, or withdrawn and queued again, since.
    if (this.#byDigest.get(digest) !== subscription || this.#toAnswer.has(digest)) return;
    subscription.answering = false;
    const sizeBytes = held?.sizeBytes ?? subscription.freshSizeBytes;
    const pieces = held?.pieces.clone() ?? PieceMap.empty(pieceCountOf(sizeBytes));
    for (const index of subscription.fresh) pieces.add(index);
    subscription.fresh.clear();
    if (pieces.held === 0) return;
    subscription.told = true;
    this.#send({ type: 'map', digest, sizeBytes, bitmap: pieces.toBytes() });
  }
}
