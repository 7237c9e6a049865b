/**
 * How much of the node a pull may use. One in the background gives way to what clients read, and its bytes pass below a
 * rate. As soon as a client wants the same blob, the pull is the client's, and nothing holds it back any more.
 */
import type { RateLane } from '../rate/rate-limit.ts';
import type { PullSource } from './pulls.ts';

export class PullPace {
  readonly #lane: RateLane | undefined;
  readonly #lifted = new AbortController();

  constructor({ background }: Pick<PullSource, 'background'>) {
    this.#lane = background?.lane;
    if (background === undefined) this.lift();
  }

  get inBackground(): boolean {
    return !this.#lifted.signal.aborted;
  }

  lift(): void {
    this.#lifted.abort();
  }

  /** What was taken and did not pass. */
  giveBack(bytes: number): void {
    this.#lane?.spend(-bytes);
  }

  /** As `RateLane.take`. @throws (rejects with) the signal's reason */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#lane === undefined || !this.inBackground) return undefined;
    return this.#lane.take(bytes, AbortSignal.any([signal, this.#lifted.signal]))?.catch(() => signal.throwIfAborted());
  }
}
