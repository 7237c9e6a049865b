/**
 * One reference that many agents ask about at the same moment: one of them asks the origin, the others wait for what it
 * is told.
 *
 *   nobody asks ─► first agent: its turn ─► told ─► all who wait get the answer, and whoever comes while it is fresh
 *                      ▲        │
 *                      │        ├ the origin says no to a second agent ─► all who wait get the no, and whoever comes
 *                      │        │                                         within `refusedMs`
 *                      │        ├ its first no; it failed; `turnMs` passed ─► the turn of whoever waits longest
 *                      └────────┘        └ no answer for the third time ─► for `openMs` everybody asks by themselves
 *
 * Why a no may be shared: everybody who asks here asks with the same scope, that is, would present the same credential
 * (or none) to the same address. An agent's own credential could therefore not change the answer: had it another one,
 * it would ask another question. What may differ is the way there (a registry that lets in some addresses only, a proxy
 * that refuses), so one agent's no is tried by a second one before it counts; and the moment (the tag is just being
 * pushed), so it is short-lived. A client that gets it still goes to its upstream by itself.
 *
 * An answer counts from the moment the agent was told to ask, so it is never older than it says. It is taken only from
 * agents that were told to ask, also when their turn has passed: with a slow origin, whoever hears first serves all.
 */
import type { ReferenceTurn } from '@shoal/wire';

export interface Found extends Pick<Extract<ReferenceTurn, { turn: 'told' }>, 'digest' | 'mediaType' | 'sizeBytes'> {
  /** The origin said so no earlier than this. */
  atMs: number;
  /** The PeerId that was told. */
  by: string;
}

export type RefusalCode = Extract<ReferenceTurn, { turn: 'refused' }>['code'];

export interface SharedQuestionOptions {
  turnMs: number;
  refusedMs: number;
  openMs: number;
}

interface Waiter {
  agent: string;
  answer: (turn: ReferenceTurn) => void;
}

/** Turns in a row without an answer after which waiting for each other does not help. */
const MAX_FAILURES = 3;
/** While everybody asks by themselves, the answers of so many are expected. */
const MAX_ASKERS = 64;
/** Nobody needs this long to ask a registry. */
const ANSWER_WITHIN_MS = 10_000;
/** For those who may not wait here. */
const RETRY_AFTER_MS = 150;

export class SharedQuestion {
  /** For whoever keeps these: when it was last of use. */
  usedAtMs = 0;
  readonly #options: SharedQuestionOptions;
  readonly #clock: () => number;
  readonly #waiters = new Set<Waiter>();
  /** Who was told to ask and has not said anything yet, and when. */
  readonly #askers = new Map<string, number>();
  #found: Found | undefined;
  /** The origin said no to this agent; it counts when another one got a no, too. */
  #doubted: { agent: string; untilMs: number } | undefined;
  #refused: { code: RefusalCode; untilMs: number } | undefined;
  /** Whose turn it is. */
  #holder: string | undefined;
  #turnTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #openUntilMs = Number.NEGATIVE_INFINITY;

  /** @param clock milliseconds since the epoch */
  constructor(options: SharedQuestionOptions, clock: () => number) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Answers at once, or when there is an answer, or after `waitMs`. */
  ask(
    agent: string,
    { maxAgeMs, waitMs }: { maxAgeMs: number; waitMs: number },
  ): ReferenceTurn | Promise<ReferenceTurn> {
    const nowMs = this.#clock();
    if (this.#found !== undefined && nowMs - this.#found.atMs < maxAgeMs) return this.#told(this.#found);
    if (this.#refused !== undefined && nowMs < this.#refused.untilMs) {
      return { turn: 'refused', code: this.#refused.code };
    }
    // Whoever holds the turn and asks again did not hear so.
    if (nowMs < this.#openUntilMs || this.#holder === agent) return this.#tellToAsk(agent);
    if (this.#holder === undefined) return this.#giveTurn(agent);
    return waitMs > 0 ? this.#wait(agent, waitMs) : { turn: 'wait', retryAfterMs: RETRY_AFTER_MS };
  }

  /** The origin told `agent`. Undefined when that agent was not to ask. */
  heard(agent: string, answer: Omit<Found, 'atMs' | 'by'>): Found | undefined {
    const atMs = this.#takeAsker(agent);
    if (atMs === undefined) return undefined;
    const found = { ...answer, atMs, by: agent };
    this.learn(found);
    return found;
  }

  /** What a question about the same thing was answered with. */
  learn(found: Found): void {
    if (this.#found !== undefined && this.#found.atMs > found.atMs) return;
    this.#found = found;
    this.#doubted = undefined;
    this.#refused = undefined;
    this.#settled();
    this.#answerAll(() => this.#told(found));
  }

  /** The origin refused `agent`. */
  refused(agent: string, code: RefusalCode): void {
    const held = this.#holder === agent;
    const atMs = this.#takeAsker(agent);
    // A late no does not undo what somebody was told since.
    if (atMs === undefined || (this.#found?.atMs ?? Number.NEGATIVE_INFINITY) > atMs) return;
    const nowMs = this.#clock();
    const untilMs = nowMs + this.#options.refusedMs;
    const isSecond = this.#doubted !== undefined && this.#doubted.agent !== agent && nowMs < this.#doubted.untilMs;
    if (!isSecond) {
      this.#doubted = { agent, untilMs };
      if (held) this.#next(false);
      return;
    }
    this.#found = undefined;
    this.#doubted = undefined;
    this.#refused = { code, untilMs };
    this.#settled();
    this.#answerAll(() => ({ turn: 'refused', code }));
  }

  /** `agent` got no answer (`failed`), or did not wait for it (`left`). */
  unanswered(agent: string, why: 'failed' | 'left'): void {
    const held = this.#holder === agent;
    this.#takeAsker(agent);
    if (held) this.#next(why === 'failed');
  }

  /** Forgets what `agent` said, and gives its turn to somebody else. */
  distrust(agent: string): void {
    if (this.#found?.by === agent) this.#found = undefined;
    if (this.#doubted?.agent === agent) this.#doubted = undefined;
    this.unanswered(agent, 'left');
  }

  /** Nobody is to wait here any more. */
  close(): void {
    this.#settled();
    this.#answerAll(() => ({ turn: 'wait', retryAfterMs: RETRY_AFTER_MS }));
  }

  #wait(agent: string, waitMs: number): Promise<ReferenceTurn> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => waiter.answer({ turn: 'wait', retryAfterMs: 0 }), waitMs).unref();
      const waiter: Waiter = {
        agent,
        answer: (turn) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(turn);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  #giveTurn(agent: string): ReferenceTurn {
    this.#holder = agent;
    clearTimeout(this.#turnTimer);
    this.#turnTimer = setTimeout(() => this.#next(true), this.#options.turnMs).unref();
    return this.#tellToAsk(agent);
  }

  #tellToAsk(agent: string): ReferenceTurn {
    this.#askers.delete(agent);
    this.#askers.set(agent, this.#clock());
    const [oldest] = this.#askers.keys();
    if (this.#askers.size > MAX_ASKERS && oldest !== undefined) this.#askers.delete(oldest);
    return { turn: 'ask' };
  }

  /** The turn ended without an answer. */
  #next(counts: boolean): void {
    this.#holder = undefined;
    clearTimeout(this.#turnTimer);
    if (counts) this.#failures++;
    if (this.#failures >= MAX_FAILURES) {
      this.#failures = 0;
      this.#openUntilMs = this.#clock() + this.#options.openMs;
      this.#answerAll((agent) => this.#tellToAsk(agent));
      return;
    }
    const [longest] = this.#waiters;
    longest?.answer(this.#giveTurn(longest.agent));
  }

  /** When the agent was told to ask; undefined when it was not, or long ago. */
  #takeAsker(agent: string): number | undefined {
    const atMs = this.#askers.get(agent);
    this.#askers.delete(agent);
    return atMs === undefined || this.#clock() - atMs > ANSWER_WITHIN_MS ? undefined : atMs;
  }

  #settled(): void {
    this.#holder = undefined;
    clearTimeout(this.#turnTimer);
    this.#failures = 0;
    this.#openUntilMs = Number.NEGATIVE_INFINITY;
  }

  #answerAll(turnOf: (agent: string) => ReferenceTurn): void {
    for (const waiter of [...this.#waiters]) waiter.answer(turnOf(waiter.agent));
  }

  #told({ digest, mediaType, sizeBytes, atMs }: Found): ReferenceTurn {
    return { turn: 'told', digest, mediaType, sizeBytes, ageMs: Math.max(0, this.#clock() - atMs) };
  }
}
